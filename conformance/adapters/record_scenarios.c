// SPDX-License-Identifier: MIT
#include "record.h"

#include <string.h>

// clang-format off
const struct record_scenario record_scenarios[] = {
    {.name = "file", .about = "precopy into a file, no return path",
     .since = 700, .kind = RECORD_EXEC},
    {.name = "socket", .about = "precopy with return path",
     .since = 700, .kind = RECORD_SOCKET, .capabilities = {"return-path"}},
    {.name = "multifd-none", .about = "multifd, two channels, not compressed",
     .since = 700, .kind = RECORD_SOCKET, .capabilities = {"return-path", "multifd"},
     .parameters = "{\"multifd-channels\": 2, \"multifd-compression\": \"none\"}"},
    {.name = "multifd-zlib", .about = "multifd, two channels, zlib",
     .since = 700, .kind = RECORD_SOCKET, .capabilities = {"return-path", "multifd"},
     .parameters = "{\"multifd-channels\": 2, \"multifd-compression\": \"zlib\"}"},
    {.name = "multifd-zstd", .about = "multifd, two channels, zstd",
     .since = 700, .kind = RECORD_SOCKET, .capabilities = {"return-path", "multifd"},
     .parameters = "{\"multifd-channels\": 2, \"multifd-compression\": \"zstd\"}"},
    {.name = "xbzrle", .about = "pages sent again as XBZRLE differences",
     .since = 700, .kind = RECORD_SOCKET, .capabilities = {"return-path", "xbzrle"},
     .parameters = "{\"max-bandwidth\": 8388608, \"xbzrle-cache-size\": 33554432}",
     .gen_mask = 63, .per_tick = 128},
    {.name = "compress", .about = "compressed pages on the main channel (gone in 9.1)",
     .since = 700, .until = 900, .kind = RECORD_SOCKET,
     .capabilities = {"return-path", "compress"},
     .parameters = "{\"compress-threads\": 2, \"decompress-threads\": 2, \"compress-level\": 1}"},
    {.name = "postcopy", .about = "postcopy, switched to in the middle",
     .since = 700, .kind = RECORD_SOCKET, .flags = RECORD_POSTCOPY,
     .capabilities = {"return-path", "postcopy-ram"},
     .parameters = "{\"max-bandwidth\": 8388608, \"max-postcopy-bandwidth\": 8388608}",
     .per_tick = 320},
    {.name = "preempt", .about = "postcopy with the preempt channel",
     .since = 701, .kind = RECORD_SOCKET, .flags = RECORD_POSTCOPY,
     .capabilities = {"return-path", "postcopy-ram", "postcopy-preempt"},
     .parameters = "{\"max-bandwidth\": 8388608, \"max-postcopy-bandwidth\": 8388608}",
     .per_tick = 320},
    {.name = "recovery", .about = "postcopy cut in the middle and recovered",
     .since = 700, .kind = RECORD_SOCKET, .flags = RECORD_POSTCOPY | RECORD_RECOVERY,
     .capabilities = {"return-path", "postcopy-ram"},
     .parameters = "{\"max-bandwidth\": 8388608, \"max-postcopy-bandwidth\": 2097152}",
     .per_tick = 320},
    {.name = "recovery-preempt", .about = "the same with the preempt channel",
     .since = 701, .kind = RECORD_SOCKET, .flags = RECORD_POSTCOPY | RECORD_RECOVERY,
     .capabilities = {"return-path", "postcopy-ram", "postcopy-preempt"},
     .parameters = "{\"max-bandwidth\": 8388608, \"max-postcopy-bandwidth\": 2097152}",
     .per_tick = 320},
    {.name = "multifd-postcopy", .about = "multifd in precopy, then postcopy",
     .since = 1001, .kind = RECORD_SOCKET, .flags = RECORD_POSTCOPY,
     .capabilities = {"return-path", "multifd", "postcopy-ram"},
     .parameters = "{\"multifd-channels\": 2, \"max-bandwidth\": 8388608,"
                   " \"max-postcopy-bandwidth\": 8388608}",
     .per_tick = 320},
    {.name = "dirty-bitmaps", .about = "dirty bitmaps of a block node",
     .since = 700, .kind = RECORD_SOCKET, .flags = RECORD_BITMAPS,
     .capabilities = {"return-path", "dirty-bitmaps"}},
    {.name = "ignore-shared", .about = "main memory in a shared file, not sent",
     .since = 700, .kind = RECORD_SOCKET, .flags = RECORD_SHARED,
     .capabilities = {"return-path", "x-ignore-shared"}},
    {.name = "background-snapshot", .about = "snapshot of a running VM, memory of its beginning",
     .since = 700, .kind = RECORD_SNAPSHOT, .capabilities = {"background-snapshot"}},
    {.name = "mapped-ram", .about = "file with RAM at fixed places",
     .since = 900, .kind = RECORD_FILE, .capabilities = {"mapped-ram"}},
    {.name = "mapped-ram-multifd", .about = "the same, written by multifd channels",
     .since = 900, .kind = RECORD_FILE, .capabilities = {"mapped-ram", "multifd"},
     .parameters = "{\"multifd-channels\": 2}"},
    {.name = "zero-legacy", .about = "multifd, zero pages on the main channel",
     .since = 900, .kind = RECORD_SOCKET, .capabilities = {"return-path", "multifd"},
     .parameters = "{\"multifd-channels\": 2, \"zero-page-detection\": \"legacy\"}"},
    {.name = "zero-none", .about = "multifd, zero pages sent like others",
     .since = 900, .kind = RECORD_SOCKET, .capabilities = {"return-path", "multifd"},
     .parameters = "{\"multifd-channels\": 2, \"zero-page-detection\": \"none\"}"},
    {.name = "zero-multifd", .about = "multifd, zero pages listed in the packets",
     .since = 900, .kind = RECORD_SOCKET, .capabilities = {"return-path", "multifd"},
     .parameters = "{\"multifd-channels\": 2, \"zero-page-detection\": \"multifd\"}"},
    {.name = NULL},
};
// clang-format on

const struct record_scenario *record_find_scenario(const char *name) {
    for (size_t i = 0; record_scenarios[i].name != NULL; i++) {
        if (strcmp(record_scenarios[i].name, name) == 0) {
            return &record_scenarios[i];
        }
    }
    return NULL;
}

bool record_supports(const struct record_scenario *scenario, const struct vms_peer *peer) {
    unsigned version = peer->major * 100 + peer->minor;

    return version >= scenario->since && (scenario->until == 0 || version <= scenario->until);
}
