/* SPDX-License-Identifier: MIT */
#include "conformance/vectors/vectors.h"

#include <stdio.h>

/* Writes the vectors' JSON files into a folder: make vectors. */
int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    if (write_vectors(argv[1])) {
        perror(argv[1]);
        return 3;
    }
    return 0;
}
