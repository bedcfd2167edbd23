"""Files to documents."""

from tailorbird.rag.read.parsed import FileResult, Known
from tailorbird.rag.read.pool import read_files
from tailorbird.rag.read.walk import find_files, source_of

__all__ = ["FileResult", "Known", "find_files", "read_files", "source_of"]
