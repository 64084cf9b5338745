/* SPDX-License-Identifier: MIT */
#include "conformance/native/pair_internal.h"

#include <stdlib.h>
#include <string.h>

/* The script, where the guest moves before its memory. */

/* The pages that were sent and are stale are discarded; the rest follows behind the guest. */
enum vms_code pair_discard(struct pair *p) {
    for (uint32_t b = 0; b < PAIR_BLOCKS; b++)
        for (uint64_t i = 0; i < p->source.blocks[b].length / PAIR_PAGE; i++)
            if (atomic_load(&p->dirty[b][i])) {
                uint64_t range[2] = {i, 1};
                if (p->wire.ops->discard(p->wire.ctx, b, range, 1, &p->source_error) != VMS_OK)
                    return p->source_error.code;
            }
    return p->wire.ops->listen(p->wire.ctx, &p->source_error);
}

static enum vms_code serve(struct pair *p) {
    struct pair_request r;
    while (pair_next_request(p, &r)) {
        struct src_batch batch = {.block = r.block, .page_size = PAIR_PAGE};
        for (uint64_t i = r.offset / PAIR_PAGE; i < (r.offset + r.length) / PAIR_PAGE; i++)
            if (atomic_exchange(&p->dirty[r.block][i], 0))
                batch.pages[batch.count++] = i;
        if (batch.count && p->wire.ops->urgent(p->wire.ctx, &batch, &p->source_error) != VMS_OK)
            return p->source_error.code;
    }
    return VMS_OK;
}

enum vms_code pair_push(struct pair *p) {
    enum vms_code code = VMS_OK;
    pair_wait_for_request(p);
    for (uint32_t b = 0; b < PAIR_BLOCKS; b++)
        for (uint64_t i = 0; i < p->source.blocks[b].length / PAIR_PAGE && code == VMS_OK;
             i += 16) {
            code = serve(p);
            if (code == VMS_OK)
                code = pair_send(p, b, i, i + 16);
            if (i % 4096 == 0 && p->cuts && p->cuts_made < p->cuts)
                pair_cut(p, (unsigned)(i / 4096) % 3);
        }
    if (code == VMS_OK)
        code = p->wire.ops->end(p->wire.ctx, &p->source_error);
    if (code == VMS_OK && !pair_wait(p, SRC_EV_SHUT))
        code = vms_error_set(&p->source_error, VMS_E_TIMEOUT, "END is not acknowledged");
    return code;
}

void pair_expect(struct pair *p) {
    for (size_t b = 0; b < PAIR_BLOCKS; b++) {
        p->expected[b] = malloc(p->source.blocks[b].length);
        memcpy(p->expected[b], p->source.blocks[b].memory, p->source.blocks[b].length);
    }
}
