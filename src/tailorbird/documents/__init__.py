"""Files to documents."""

from tailorbird.documents.parsed import FileResult, Known
from tailorbird.documents.pool import read_files
from tailorbird.documents.walk import find_files, source_of

__all__ = ["FileResult", "Known", "find_files", "read_files", "source_of"]
