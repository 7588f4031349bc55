"""The numbers in tensors: looked at, cast, compared and summed up, piece by piece."""
