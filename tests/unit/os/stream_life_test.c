// SPDX-License-Identifier: ISC
#include <string.h>
#include <sys/socket.h>

#include "base/random.h"
#include "os/os_frames.h"
#include "os_test.h"

/* Connections whose owners do anything at any time, mostly inside callbacks: what may not happen is
 * a callback after the end, a second on_close, or (by the sanitizer) a touch of freed memory. */

enum { ENDS = 16, STEPS = 4000 };

struct party {
    struct ppn_random *random;
    struct os_frames *frames; /* NULL: ended */
    bool paused;
    uint64_t received, dropped;
};

static struct rig rig;

static void act(struct party *party)
{
    static const uint8_t bytes[70000];
    if (!party->frames)
        return;
    uint64_t dice = ppn_random_below(party->random, 1000);
    if (dice < 10) {
        os_frames_close(party->frames);
        party->frames = NULL;
    } else if (dice < 20) {
        os_frames_close_after_write(party->frames);
        party->frames = NULL;
    } else if (dice < 150) {
        party->paused = true;
        os_frames_pause(party->frames);
    } else if (dice < 400) {
        party->paused = false;
        os_frames_resume(party->frames);
    } else if (dice < 420) {
        os_frames_idle_timeout(party->frames, ppn_ms((int64_t)ppn_random_below(party->random, 5)));
    } else {
        size_t size = 1 + ppn_random_below(party->random, sizeof bytes);
        enum ppn_error error = os_frames_send(party->frames, ppn_slice(bytes, size));
        cr_assert(error == PPN_OK || error == PPN_ERROR_FULL || error == PPN_ERROR_CLOSED);
        party->dropped += error != PPN_OK;
    }
}

static void on_frame(void *context, struct ppn_slice payload)
{
    struct party *party = context;
    cr_assert(party->frames != NULL && !party->paused, "called although ended or paused");
    party->received += payload.size;
    act(party);
}

static void on_drain(void *context)
{
    struct party *party = context;
    cr_assert(party->frames != NULL);
    act(party);
}

static void on_close(void *context, enum ppn_error reason, const char *text)
{
    struct party *party = context;
    cr_assert(party->frames != NULL && reason != PPN_OK && text[0] != 0);
    if (ppn_random_chance(party->random, 500000))
        os_frames_close(party->frames); /* allowed, and the same */
    party->frames = NULL;
}

static const struct os_frames_handler handler = {
    .on_frame = on_frame, .on_drain = on_drain, .on_close = on_close};

static void open_pair(struct party *a, struct party *b)
{
    int fds[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    struct party *parties[] = {a, b};
    for (int i = 0; i < 2; i++) {
        struct os_frames_config config = {.handler = &handler, .context = parties[i]};
        parties[i]->paused = false;
        cr_assert_eq(os_frames_adopt(rig.loop, fds[i], &config, &parties[i]->frames, NULL), PPN_OK);
    }
}

static void live(uint64_t seed)
{
    struct ppn_random random;
    struct party parties[ENDS];
    uint64_t received = 0;
    rig_open(&rig);
    ppn_random_init(&random, seed);
    for (int i = 0; i < ENDS; i++)
        parties[i] = (struct party){.random = &random};
    for (int step = 0; step < STEPS; step++) {
        uint64_t i = ppn_random_below(&random, ENDS / 2) * 2;
        if (!parties[i].frames && !parties[i + 1].frames)
            open_pair(&parties[i], &parties[i + 1]);
        act(&parties[i + ppn_random_below(&random, 2)]);
        rig_poll(&rig);
    }
    for (int i = 0; i < ENDS; i++) {
        received += parties[i].received;
        os_frames_close(parties[i].frames);
    }
    cr_assert_gt(received, 1000000, "the dice let something through");
    rig_close(&rig);
}

Test(stream_life, owners_do_anything_at_any_time)
{
    for (uint64_t seed = 1; seed <= 8; seed++)
        live(seed);
}
