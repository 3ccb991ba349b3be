// SPDX-License-Identifier: ISC
#include "admission/words.h"

#include <string.h>

#include "base/assert.h"

/* Common things that are hard to mishear for one another; the order is part of the protocol. */
static const char words[256][ADMISSION_WORD_MAX + 1] = {
    "acorn",  "actor",  "agent",  "alarm",  "album",  "alley",  "alpha",  "amber",  "angle",
    "ankle",  "apple",  "apron",  "arena",  "armor",  "arrow",  "atlas",  "attic",  "autumn",
    "bacon",  "badge",  "bagel",  "baker",  "bamboo", "banjo",  "barley", "basil",  "basket",
    "beach",  "beaver", "bell",   "berry",  "bingo",  "bishop", "border", "bottle", "branch",
    "bread",  "butter", "button", "cabin",  "cactus", "camel",  "candle", "canoe",  "canyon",
    "carbon", "cargo",  "carpet", "carrot", "castle", "cedar",  "cello",  "chalk",  "cheese",
    "cherry", "chess",  "circle", "citrus", "clover", "coast",  "cobalt", "coffee", "comet",
    "copper", "coral",  "cotton", "cradle", "crane",  "crown",  "cube",   "cuckoo", "daisy",
    "dancer", "delta",  "denim",  "desert", "diesel", "donkey", "dragon", "drum",   "eagle",
    "echo",   "elbow",  "ember",  "engine", "falcon", "fiddle", "finger", "flag",   "flame",
    "flute",  "forest", "fossil", "fox",    "frost",  "galaxy", "garden", "garlic", "ginger",
    "globe",  "goat",   "golden", "gravel", "guitar", "hammer", "harbor", "hazel",  "helmet",
    "hero",   "honey",  "horse",  "hotel",  "igloo",  "indigo", "island", "ivory",  "jacket",
    "jaguar", "jelly",  "jewel",  "jigsaw", "jungle", "kayak",  "kernel", "kettle", "kitten",
    "koala",  "ladder", "lagoon", "lake",   "laser",  "lemon",  "lentil", "lily",   "lion",
    "lizard", "lunar",  "magnet", "mango",  "maple",  "marble", "meadow", "melon",  "meteor",
    "mirror", "monkey", "muffin", "museum", "napkin", "nectar", "needle", "nickel", "ninja",
    "noodle", "nugget", "oasis",  "ocean",  "olive",  "onion",  "opera",  "orange", "orbit",
    "orchid", "otter",  "oxygen", "oyster", "paddle", "palace", "panda",  "paper",  "parrot",
    "peach",  "pebble", "pencil", "pepper", "piano",  "pigeon", "pilot",  "pirate", "planet",
    "plum",   "pocket", "polar",  "pony",   "potato", "prism",  "puzzle", "quartz", "quiver",
    "rabbit", "radio",  "rain",   "raven",  "ribbon", "river",  "robin",  "rocket", "rose",
    "ruby",   "saddle", "safari", "salmon", "sandal", "saturn", "shadow", "shell",  "silver",
    "siren",  "sketch", "smoke",  "socket", "solar",  "spider", "spoon",  "spruce", "squid",
    "stable", "statue", "stone",  "storm",  "sugar",  "summit", "sunset", "swan",   "syrup",
    "table",  "tango",  "teapot", "temple", "tiger",  "timber", "toast",  "tomato", "topaz",
    "tulip",  "tundra", "tunnel", "turtle", "valley", "velvet", "violet", "viper",  "voyage",
    "wagon",  "walnut", "walrus", "whale",  "willow", "window", "winter", "wolf",   "yacht",
    "yellow", "zebra",  "zigzag", "zinc"};

const char *admission_word(uint8_t byte)
{
    return words[byte];
}

static void spell(const struct ppn_hash *hash, char text[static ADMISSION_WORDS_TEXT])
{
    size_t at = 0;
    for (uint32_t i = 0; i < ADMISSION_WORDS; i++) {
        const char *word = admission_word(hash->bytes[i]);
        size_t length = strlen(word);
        PPN_ASSERT(at + length + 1 <= ADMISSION_WORDS_TEXT);
        memcpy(text + at, word, length);
        at += length;
        text[at++] = i + 1 < ADMISSION_WORDS ? ' ' : '\0';
    }
}

void admission_words(const struct admission_crypto *crypto, const struct ppn_hash *network,
                     const struct ppn_node_id *node,
                     const uint8_t wg_key[static ADMISSION_WG_KEY_SIZE],
                     char text[static ADMISSION_WORDS_TEXT])
{
    uint8_t bytes[PPN_HASH_SIZE + PPN_ID_SIZE + ADMISSION_WG_KEY_SIZE];
    memcpy(bytes, network->bytes, PPN_HASH_SIZE);
    memcpy(bytes + PPN_HASH_SIZE, node->bytes, PPN_ID_SIZE);
    memcpy(bytes + PPN_HASH_SIZE + PPN_ID_SIZE, wg_key, ADMISSION_WG_KEY_SIZE);
    struct ppn_hash hash =
        crypto->hash(crypto->ctx, ppn_slice("ppn-words-1", 11), ppn_slice(bytes, sizeof bytes));
    spell(&hash, text);
}

void admission_network_words(const struct admission_crypto *crypto, const struct ppn_hash *network,
                             char text[static ADMISSION_WORDS_TEXT])
{
    struct ppn_hash hash = crypto->hash(crypto->ctx, ppn_slice("ppn-network-words-1", 19),
                                        ppn_slice(network->bytes, PPN_HASH_SIZE));
    spell(&hash, text);
}
