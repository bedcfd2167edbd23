"""HTTP server for runs, models and knowledge bases, with a playground."""

import os

# torch caches the compiled products in two caches, separately for each number of rows, half a
# megabyte each and up to 1,024 of them; batches of requests have any number of rows. Compiling one
# takes less time than the product. Read when torch is loaded; a user's value stays.
for _cache in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):
    os.environ.setdefault(_cache, "32")
