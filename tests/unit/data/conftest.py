import sys
from pathlib import Path

# The table of bad inputs is shared with the tests of the command line.
sys.path.insert(0, str(Path(__file__).parents[2]))
