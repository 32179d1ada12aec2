/* The logits of a file of steps, one float32 after the other, then the nanoseconds of a step: the least of all rounds. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "net.h"

enum { COUNT = 64 };

int main(int count, char **words) {
    static float x[COUNT][NET_INPUTS];
    static net_state state;
    float logits[NET_OUTPUTS];
    const int steps = atoi(words[2]), rounds = atoi(words[3]);
    double best = 1e30;
    int t, k, round;
    FILE *file = fopen(words[1], "rb");
    if (count != 4 || !file || fread(x, sizeof x, 1, file) != 1) return 1;
    net_init(&state);
    for (t = 0; t < COUNT; t++) net_step(&state, x[t], logits);
    for (k = 0; k < NET_OUTPUTS; k++) printf("%.9g ", logits[k]);
    for (round = 0; round < rounds; round++) {
        struct timespec begin, end;
        double spent;
        clock_gettime(CLOCK_MONOTONIC, &begin);
        for (t = 0; t < steps; t++) net_step(&state, x[t % COUNT], logits);
        clock_gettime(CLOCK_MONOTONIC, &end);
        spent = ((end.tv_sec - begin.tv_sec) * 1e9 + (end.tv_nsec - begin.tv_nsec)) / steps;
        if (spent < best) best = spent;
    }
    printf("%.2f\n", best);
    return 0;
}
