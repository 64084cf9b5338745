/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <vmstream/pack_zstd.h>

/* There and back. */
int main(void) {
    const struct vms_zstd_config config = {.level_max = 1, .unpacked_max = 4096};
    static uint8_t page[4096], packed[4096], again[4096];
    memset(page, 'v', sizeof page);
    size_t size = vms_zstd_size(&config);
    void *mem = malloc(size);
    struct vms_zstd *zstd = mem ? vms_zstd_init(mem, size, &config) : NULL;
    if (!zstd)
        return 1;
    struct vms_zip_ops zip = vms_zstd_ops(zstd);
    size_t n = zip.compress(zip.ctx, 1, vms_slice(page, sizeof page),
                            (struct vms_room){packed, sizeof packed});
    bool good =
        n > 0 && n < 100 &&
        zip.decompress(zip.ctx, vms_slice(packed, n), (struct vms_room){again, sizeof again}) &&
        memcmp(page, again, sizeof page) == 0;
    free(mem);
    return !good;
}
