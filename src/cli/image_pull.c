// SPDX-License-Identifier: ISC
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/cli_print.h"
#include "cli/cli_upload.h"

/* Cloud images by their publishers' fixed addresses. The checksums come over HTTPS from the same
 * publisher: they prove an undamaged download, and as much as the publisher's certificate does. */
struct source {
    const char *name;
    const char *directory;
    const char *x86_64, *aarch64; /* file names */
    const char *sums;             /* SHA256SUMS or SHA512SUMS */
    bool sha512;
};

static const struct source sources[] = {
    {"debian-12", "https://cloud.debian.org/images/cloud/bookworm/latest/",
     "debian-12-generic-amd64.qcow2", "debian-12-generic-arm64.qcow2", "SHA512SUMS", true},
    {"ubuntu-24.04", "https://cloud-images.ubuntu.com/noble/current/",
     "noble-server-cloudimg-amd64.img", "noble-server-cloudimg-arm64.img", "SHA256SUMS", false},
};

enum {
    SUMS_MAX = 256 * 1024,
    URL_MAX = 256,
    CONNECT_SECONDS = 20,
    STALL_SECONDS = 60,
    STALL_BYTES = 1024 /* fewer a second, for so long, is no download */
};

struct download {
    struct cli_progress progress;
    const char *what;
    int fd; /* >= 0: to this file */
    char *text;
    size_t size;
    bool sha512;
    crypto_hash_sha256_state sha256_state;
    crypto_hash_sha512_state sha512_state;
};

void cli_image_pull_names(FILE *out)
{
    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++)
        (void)fprintf(out, "%s%s", i > 0 ? ", " : "", sources[i].name);
}

static size_t on_data(char *bytes, size_t one, size_t count, void *context)
{
    struct download *download = context;
    size_t size = one * count, done = 0;
    if (download->fd < 0) {
        if (size > SUMS_MAX - download->size)
            return 0;
        memcpy(download->text + download->size, bytes, size);
        download->size += size;
        return size;
    }
    if (download->sha512)
        (void)crypto_hash_sha512_update(&download->sha512_state, (unsigned char *)bytes, size);
    else
        (void)crypto_hash_sha256_update(&download->sha256_state, (unsigned char *)bytes, size);
    while (done < size) {
        ssize_t written = write(download->fd, bytes + done, size - done);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return 0;
        done += (size_t)written;
    }
    return size;
}

static int on_progress(void *context, curl_off_t total, curl_off_t now, curl_off_t up_total,
                       curl_off_t up)
{
    struct download *download = context;
    (void)up_total;
    (void)up;
    if (download->fd >= 0 && total > 0 && download->progress.cli->progress)
        cli_progress_show(&download->progress, (int)(now * 100 / total), "Downloading %s",
                          download->what);
    return 0;
}

static int fetch(struct cli *cli, const char *directory, const char *file,
                 struct download *download)
{
    char url[URL_MAX], why[CURL_ERROR_SIZE] = "";
    CURL *curl = curl_easy_init();
    if (curl == NULL)
        return CLI_FAILED;
    (void)snprintf(url, sizeof(url), "%s%s", directory, file);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 5L);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, (long)STALL_BYTES);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)STALL_SECONDS);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "ppn/" PPN_VERSION);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, download);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, download);
    CURLcode result = curl_easy_perform(curl);
    curl_easy_cleanup(curl);
    cli_progress_clear(&download->progress);
    if (result == CURLE_OK)
        return CLI_OK;
    (void)fprintf(stderr,
                  "ppn %s: cannot download %s: %s. Is this machine on the internet? Else download "
                  "it elsewhere and use \"ppn image add FILE --name NAME\"\n",
                  cli->command->name, url, why[0] != '\0' ? why : curl_easy_strerror(result));
    return result == CURLE_OPERATION_TIMEDOUT ? CLI_TIMEOUT : CLI_FAILED;
}

/* The checksum of `file` in the publisher's list ("HEX  FILE" or "HEX *FILE" lines). */
static bool find_sum(char *sums, const char *file, size_t digits, char *sum)
{
    char *rest = NULL;
    for (char *line = strtok_r(sums, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        size_t hex = strspn(line, "0123456789abcdef");
        const char *name = line + hex + strspn(line + hex, " *");
        if (hex == digits && strcmp(name, file) == 0) {
            memcpy(sum, line, digits);
            sum[digits] = '\0';
            return true;
        }
    }
    return false;
}

static void finish_sum(struct download *download, char sum[static 2 * crypto_hash_sha512_BYTES + 1])
{
    unsigned char digest[crypto_hash_sha512_BYTES];
    size_t size = download->sha512 ? crypto_hash_sha512_BYTES : crypto_hash_sha256_BYTES;
    if (download->sha512)
        (void)crypto_hash_sha512_final(&download->sha512_state, digest);
    else
        (void)crypto_hash_sha256_final(&download->sha256_state, digest);
    (void)sodium_bin2hex(sum, 2 * crypto_hash_sha512_BYTES + 1, digest, size);
}

static int pull(struct cli *cli, const struct source *source, const char *file, int fd, char *sums)
{
    char wanted[2 * crypto_hash_sha512_BYTES + 1], found[2 * crypto_hash_sha512_BYTES + 1];
    struct download list = {.progress = {.cli = cli}, .fd = -1, .text = sums};
    struct download image = {
        .progress = {.cli = cli}, .what = source->name, .fd = fd, .sha512 = source->sha512};
    int code = fetch(cli, source->directory, source->sums, &list);
    if (code != CLI_OK)
        return code;
    sums[list.size] = '\0';
    if (!find_sum(sums, file, source->sha512 ? 128 : 64, wanted)) {
        (void)fprintf(stderr, "ppn image: the publisher's %s does not name %s\n", source->sums,
                      file);
        return CLI_FAILED;
    }
    (void)crypto_hash_sha256_init(&image.sha256_state);
    (void)crypto_hash_sha512_init(&image.sha512_state);
    code = fetch(cli, source->directory, file, &image);
    if (code != CLI_OK)
        return code;
    finish_sum(&image, found);
    if (strcmp(wanted, found) != 0) {
        (void)fprintf(stderr,
                      "ppn image: the download of %s is damaged (its checksum differs "
                      "from the publisher's); try again\n",
                      file);
        return CLI_FAILED;
    }
    off_t size = lseek(fd, 0, SEEK_END);
    (void)lseek(fd, 0, SEEK_SET);
    return cli_image_add(cli, fd, (uint64_t)size, source->name, NULL);
}

int cli_image_pull(struct cli *cli, const char *name)
{
    const struct source *source = NULL;
    struct utsname machine;
    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
        if (strcmp(name, sources[i].name) == 0)
            source = &sources[i];
    }
    if (source == NULL) {
        (void)fprintf(stderr, "ppn image: \"%s\" is not known here; known are ", name);
        cli_image_pull_names(stderr);
        (void)fprintf(stderr, ". Others: download them and use \"ppn image add\"\n");
        return CLI_NOT_FOUND;
    }
    bool arm = uname(&machine) == 0 && strcmp(machine.machine, "aarch64") == 0;
    const char *directory = getenv("TMPDIR");
    int fd = open(directory != NULL ? directory : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    char *sums = malloc(SUMS_MAX + 1);
    int code = CLI_FAILED;
    if (fd < 0)
        (void)fprintf(stderr, "ppn image: no temporary file in %s: %s; set TMPDIR\n",
                      directory != NULL ? directory : "/var/tmp", strerror(errno));
    else if (sums != NULL)
        code = pull(cli, source, arm ? source->aarch64 : source->x86_64, fd, sums);
    if (fd >= 0)
        (void)close(fd);
    free(sums);
    return code;
}
