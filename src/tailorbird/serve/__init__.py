"""Runs, models and knowledge bases behind one HTTP API, and a playground."""

import os

# torch keeps what it compiled for a product in two caches, for each number of rows anew, half a
# megabyte each and up to 1,024 of them; batches of requests have any number. To compile one takes
# less time than the product. Read when torch is loaded; a value that the person set stays.
for _cache in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):
    os.environ.setdefault(_cache, "32")
