"""A module that must never be imported by reading a file: importing it leaves a trace."""

import os
from pathlib import Path

Path(os.environ["HORNET_CONVERT_TRIPWIRE"]).touch()
