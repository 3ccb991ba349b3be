// SPDX-License-Identifier: ISC
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "samples.h"

/* Small samples become seeds: large ones only slow a fuzzer down, and it grows them by itself. */
enum { SEED_MAX = 1024 };

static int write_seed(const char *root, const char *target, const char *name, const uint8_t *bytes,
                      size_t size)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/wire_%s", root, target);
    mkdir(path, 0755);
    snprintf(path, sizeof(path), "%s/wire_%s/%s", root, target, name);
    FILE *file = fopen(path, "wb");
    if (!file)
        return 1;
    static const uint8_t prefix[4] = {0};
    /* The peer target reads a frame with its length in front. */
    if (strcmp(target, "peer") == 0 && strcmp(name, "images") != 0)
        fwrite(prefix, 1, sizeof(prefix), file);
    fwrite(bytes, 1, size, file);
    return fclose(file) != 0;
}

int main(int argc, char **argv)
{
    static struct samples samples;
    int failed = 0;
    if (argc != 2) {
        fprintf(stderr, "usage: wire_seeds CORPUS_DIRECTORY\n");
        return 2;
    }
    samples_make(&samples);
    for (uint32_t i = 0; i < samples.count; i++) {
        const struct sample *sample = &samples.items[i];
        if (sample->size <= SEED_MAX)
            failed |=
                write_seed(argv[1], sample->target, sample->name, sample->bytes, sample->size);
        if (sample->size <= SEED_MAX && strcmp(sample->target, "facts") == 0)
            failed |= write_seed(argv[1], "scan", sample->name, sample->bytes, sample->size);
    }
    for (uint8_t flags = 0; flags < 16; flags++) {
        uint8_t script[22] = {flags, 0xff, 0, 0, 0xff, 0, 0, 0xff};
        char name[24];
        snprintf(name, sizeof(name), "game-%d", flags);
        failed |= write_seed(argv[1], "channel", name, script, sizeof(script));
    }
    samples_free(&samples);
    return failed;
}
