// SPDX-License-Identifier: ISC
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/name.h"
#include "os/os_file.h"
#include "vm/vm_argv.h"
#include "vm/vm_launch.h"

enum { CMDLINE_MAX = 8192, WORDS_MAX = 4096 };

struct search {
    char uuid[PPN_UUID_TEXT];
    pid_t pid;
};

/* Whether the argument vector of a process holds "-uuid" and this id after it. */
static bool is_ours(const char *pid, const char *uuid)
{
    char path[64], words[CMDLINE_MAX];
    (void)snprintf(path, sizeof(path), "/proc/%.20s/cmdline", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t size = read(fd, words, sizeof(words) - 1);
    close(fd);
    if (size <= 0)
        return false;
    words[size] = 0;
    if (!strstr(words, "qemu-system"))
        return false;
    for (const char *word = words; word < words + size; word += strlen(word) + 1) {
        const char *next = word + strlen(word) + 1;
        if (!strcmp(word, "-uuid") && next < words + size && !strcmp(next, uuid))
            return true;
    }
    return false;
}

static bool look(void *context, const char *name)
{
    struct search *search = context;
    if (!isdigit((unsigned char)name[0]) || !is_ours(name, search->uuid))
        return true;
    search->pid = (pid_t)strtol(name, NULL, 10);
    return false;
}

enum ppn_error vm_process_find(const struct ppn_request_id *id, pid_t *pid, int *pidfd)
{
    struct search search = {.pid = 0};
    ppn_request_id_text(id, search.uuid);
    enum ppn_error error = os_directory_each("/proc", look, &search, NULL);
    if (error)
        return error;
    if (search.pid <= 0)
        return PPN_ERROR_NOT_FOUND;
    uint64_t ticks = 0;
    error = os_process_start_ticks(search.pid, &ticks);
    if (!error)
        error = os_process_open(search.pid, ticks, pidfd);
    *pid = search.pid;
    return error;
}

void vm_last_words(const char *directory, char *text, size_t capacity)
{
    text[0] = 0;
    int fd = -1;
    if (os_file_open_beneath(directory, "qemu.log", O_RDONLY, 0, &fd, NULL))
        return;
    char words[WORDS_MAX + 1];
    off_t size = lseek(fd, 0, SEEK_END);
    off_t from = size > WORDS_MAX ? size - WORDS_MAX : 0;
    ssize_t got = pread(fd, words, WORDS_MAX, from);
    close(fd);
    while (got > 0 && isspace((unsigned char)words[got - 1]))
        got--;
    if (got <= 0)
        return;
    words[got] = 0;
    const char *line = strrchr(words, '\n');
    line = line ? line + 1 : words;
    const char *colon = strstr(line, ": ");
    if (!strncmp(line, "qemu-system", 11) && colon)
        line = colon + 2;
    (void)snprintf(text, capacity, "QEMU ended: %s", line);
    for (char *at = text; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
}
