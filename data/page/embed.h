/* embed.h: a run's weights inside the page that `make page` wrote.
 *
 * Owns: which files of a run folder travel, and how files and weights are written into the page: in
 * base64, numbers as little-endian floats, in dual_exchange_param's order. page.html
 * reads them. */
#ifndef EMBED_H
#define EMBED_H
#include "../eval/loaded.h"

enum { PAGE_NUMBERS_MAX = 25000000 };      /* of all weights: a page of 130 MB */

/* Copies the page to `out` with the run in it, and two prompts to begin with. 0: the error says
 * which file cannot be read, or is no such page, or that the run is too large. */
int page_embed(dual_ctx *, loaded_run *, const char *prompt, const char *other, const char *page,
               const char *out);

#endif
