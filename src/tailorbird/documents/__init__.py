"""Files to documents."""

from tailorbird.documents.parsed import FileResult, FileVersion
from tailorbird.documents.pool import read_files
from tailorbird.documents.walk import find_files, source_of

__all__ = ["FileResult", "FileVersion", "find_files", "read_files", "source_of"]
