/* bpe.h: byte-level byte-pair encoding, as GPT-2 and Qwen-3 have it. Bytes in, ids out, and back.
 *
 *     char error[300];
 *     bpe *b = bpe_open("gpt2", error, sizeof error);         // a folder, as the hub has it
 *     int32_t ids[8];
 *     size_t n = bpe_encode(b, "it's", 4, 0, ids, 8, error, sizeof error);   // 2: 270 338
 *     bpe_decode(b, ids, n, text, sizeof text);               // it's
 *
 * Encoding: added tokens are cut out of the text, those with `normalized` after it is normalised
 * (Qwen-3: NFC); the rest is cut into pieces by the family's pattern, and in every piece the
 * neighbours whose merge stands first in the list become one token until no two can. Every token is
 * a string of bytes, so any bytes can be encoded and decoding gives them back, except that NFC
 * changes text which is not in that form. No token is put before or after a text: a post_processor
 * is not read.
 *
 * Bytes that are not UTF-8 (which no other implementation takes) count one by one as characters
 * that are neither letter, number nor white space, and stay as they are. A NUL is such a character,
 * too, and valid.
 *
 * A function with (error, size) that fails writes one line there. */
#ifndef BPE_H
#define BPE_H

#include <stddef.h>
#include <stdint.h>

/* ---- The two patterns -----------------------------------------------------------------------
 * Alternatives are tried from left to right. \s includes U+0085; the case-insensitive s is also
 * U+017F. Letters and numbers are those of Unicode 16.0, NFC is that of Unicode 9.0: what Hugging
 * Face's tokenizers have, which made the ids that models were trained on.
 * BPE_GPT2   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 * BPE_QWEN3  (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|
 *            ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+  (after NFC) */
typedef enum { BPE_GPT2, BPE_QWEN3 } bpe_family;

typedef struct bpe bpe;

/* ---- Files ----------------------------------------------------------------------------------
 * From a folder with
 * - tokenizer.json: pre_tokenizer ByteLevel is GPT-2, a Split with the pattern above Qwen-3, any
 *   other refused; normalizer null or NFC. Merges are "a b" or ["a", "b"].
 * - else vocab.json or encoder.json, with merges.txt or vocab.bpe, of which only line 1 may be a
 *   comment (#version). A tokenizer_config.json tells the family by its tokenizer_class (GPT2..,
 *   Qwen..); without it a vocabulary with <|endoftext|>, which is then an added token, is GPT-2's,
 *   any other Qwen-3's. If no file lists added tokens, Qwen-3's own 26 follow the vocabulary in
 *   their order.
 * - beside either: added_tokens_decoder of tokenizer_config.json or, where that has none,
 *   added_tokens.json; what tokenizer.json has not got of it follows its own. `normalized` is as
 *   the file says, else 1 for tokens that are not special (by their flag; for added_tokens.json by
 *   the pad_token and so on of tokenizer_config.json and special_tokens_map.json).
 * Refused: a vocabulary without one of the 256 bytes, an id or a token that stands there twice, a
 * merge whose parts or result are no tokens, add_prefix_space, split_special_tokens, added tokens
 * with lstrip, rstrip or single_word (the two families have none), no <|endoftext|>. */

int bpe_in(const char *folder);                  /* 1: such files are there */
/* NULL: failed. */
bpe *bpe_open(const char *folder, char *error, size_t size);
/* Writes the files that were read, byte for byte as they were then, into a folder that exists: what
 * became of the folder they came from changes nothing. 0: failed. */
int bpe_copy(const bpe *, const char *folder, char *error, size_t size);
void bpe_free(bpe *);

bpe_family bpe_family_of(const bpe *);
size_t bpe_size(const bpe *);                    /* largest id + 1; 50257, 151669 */
/* Id of a token given by its bytes: "<|im_end|>", " the". -1: no such token. */
int32_t bpe_id(const bpe *, const char *token);
/* Id of <|endoftext|>, the end of a text in both families (50256, 151643). A turn of a Qwen-3 chat
 * ends with <|im_end|>. */
int32_t bpe_end(const bpe *);
/* A token's bytes, NUL-terminated beyond length, which may be NULL. NULL: no such id. */
const char *bpe_token(const bpe *, int32_t id, size_t *length);

/* Writes the first max ids; returns how many the whole text has, at most 3 for each of its bytes.
 * added: 1 recognises added tokens (of a kind leftmost, then longest), 0 takes them as plain text.
 * SIZE_MAX: out of memory. */
size_t bpe_encode(const bpe *, const char *text, size_t length, int added, int32_t *ids, size_t max,
                  char *error, size_t size);
/* As snprintf: at most size bytes, NUL-terminated, returns the full length; the text itself may
 * hold NULs. An unknown id is written <?>. */
size_t bpe_decode(const bpe *, const int32_t *ids, size_t n, char *out, size_t size);

#endif
