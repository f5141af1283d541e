"""One pass of the compiled engine: characters of one or several sequences through all layers.

Each row of a pass is one character: sequence `rows[r]`, at position `places[r]`. Rows of one sequence come in
order, so a prompt and one new character of many sequences are the same to the code. Rows are written into the
cache before any row attends; a row sees positions up to its own.

Functions take the arrays and places of `layout.py`; they are compiled, so there is no typing in them.
"""

from __future__ import annotations

import numpy as np

from aeattn.generation.fast.elementwise import (
    LOWEST,
    add,
    add_product,
    copy,
    exponentials,
    gelu,
    inverse_rms,
    lower,
    multiply,
    normalise,
    relu2,
    scale,
)
from aeattn.generation.fast.kernels import compiled, highest, product, product_across, sparse_product, squeeze
from aeattn.generation.fast.layout import LANES, PANEL


@compiled
def rotate(x, at, m, weights, place):
    """Rotary embedding of one vector, in place."""
    half = m.rotated // 2
    cosines, sines = m.cosines + place * half, m.sines + place * half
    for i in range(half):
        cosine, sine = weights[cosines + i], weights[sines + i]
        left, right = x[at + i], x[at + half + i]
        x[at + i] = left * cosine - right * sine
        x[at + half + i] = left * sine + right * cosine


@compiled
def convolve(m, layer, weights, work, caches, rows, n_rows):
    """Add the short convolution to what attention reads, and move its memory on."""
    d, past = m.width, m.conv - 1
    for r in range(n_rows):
        at, memory = m.seen + r * m.row, rows[r] * m.cache_numbers + layer.cache_inputs
        copy(work, at, work, m.out, d)
        add_product(work, m.out, work, at, weights, layer.taps, d)
        for tap in range(1, m.conv):
            add_product(work, m.out, caches, memory + (past - tap) * d, weights, layer.taps + tap * d, d)
        for tap in range(past - 1):
            copy(caches, memory + (tap + 1) * d, caches, memory + tap * d, d)
        if past > 0:
            copy(work, at, caches, memory + (past - 1) * d, d)
        copy(work, m.out, work, at, d)


@compiled
def code(m, work, at, width, blocks, has_gelu, middle, weights, n_rows):
    """From the encoder's product to the code, in place."""
    if not has_gelu:
        return
    for r in range(n_rows):
        gelu(work, m.encoded + r * m.encoded_row + at, width)
    if middle < 0:
        return
    b = width // blocks
    stride = b * ((b + LANES - 1) // LANES * LANES)
    row = width + LANES
    for block in range(blocks):
        here = m.encoded + at + block * b
        product(work, here, m.encoded_row, n_rows, weights, middle + block * stride, b, b, work, m.middle, row)
        for r in range(n_rows):
            gelu(work, m.middle + r * row, b)
            copy(work, m.middle + r * row, work, here + r * m.encoded_row, b)


@compiled
def by_heads(m, work, at, width, blocks, weights, matrix, stride, y_at, y_row, n_rows):
    """From a code to one vector a head, each `stride` numbers long."""
    n_in, n_out = width // blocks, m.heads * stride // blocks
    size = n_in * n_out
    for block in range(blocks):
        x_at = m.encoded + at + block * n_in
        y_here = y_at + block * n_out
        product(
            work, x_at, m.encoded_row, n_rows, weights, matrix + block * size, n_in, n_out, work, y_here, y_row
        )


@compiled
def queries(m, layer, weights, work, places, n_rows):
    """What is multiplied with kept keys, one vector a head, into `reading`."""
    by_heads(m, work, layer.query, layer.query_width, layer.query_blocks, weights, layer.read, layer.key_stride,
             m.reading, m.reading_row, n_rows)  # fmt: skip
    at, row, step = m.encoded + layer.query, m.encoded_row, m.head_width
    if m.qk_norm and layer.query_decoder >= 0:
        step = m.decoded_row // m.heads
        by_heads(m, work, layer.query, layer.query_width, layer.query_blocks, weights, layer.query_decoder, step,
                 m.decoded, m.decoded_row, n_rows)  # fmt: skip
        at, row = m.decoded, m.decoded_row
    for r in range(n_rows):
        for h in range(m.heads):
            here = m.reading + r * m.reading_row + h * layer.key_stride
            if m.qk_norm:
                scale(work, here, layer.key_kept, inverse_rms(work, at + r * row + h * step, m.head_width))
            if layer.rotate:
                rotate(work, here, m, weights, places[r])
            if layer.decoupled_width > 0:
                part = m.encoded + r * m.encoded_row + layer.decoupled_query + h * layer.decoupled_width
                rotate(work, part, m, weights, places[r])


@compiled
def put_in_panels(x, at, n, caches, cache, place):
    """One character's vector as one column of a cache in panels of characters."""
    here = cache + place // PANEL * n * PANEL + place % PANEL
    for i in range(n):
        caches[here + i * PANEL] = x[at + i]


@compiled
def keep_keys(m, layer, weights, work, caches, rows, places, n_rows):
    """Write keys, or their codes and norms, and the shared rotary part into the cache."""
    time = m.scores_row
    at, row, step = m.encoded + layer.key, m.encoded_row, layer.key_kept
    decoded_step = m.decoded_row // m.heads
    if layer.key_decoder >= 0:
        by_heads(m, work, layer.key, layer.key_width, layer.key_blocks, weights, layer.key_decoder, decoded_step,
                 m.decoded, m.decoded_row, n_rows)  # fmt: skip
    if layer.key_decoded:
        at, row, step = m.decoded, m.decoded_row, decoded_step
    for r in range(n_rows):
        cache = rows[r] * m.cache_numbers
        if layer.key_norms:
            for h in range(m.heads):
                norm = inverse_rms(work, m.decoded + r * m.decoded_row + h * decoded_step, m.head_width)
                caches[cache + layer.cache_norms + h * time + places[r]] = norm
        for g in range(layer.key_groups):
            here = at + r * row + g * step
            if m.qk_norm and not layer.key_norms:
                scale(work, here, m.head_width, inverse_rms(work, here, m.head_width))
            if layer.rotate:
                rotate(work, here, m, weights, places[r])
            group = cache + layer.cache_keys + g * layer.key_kept * time
            put_in_panels(work, here, layer.key_kept, caches, group, places[r])
        if layer.decoupled_width > 0:
            here = m.encoded + r * m.encoded_row + layer.decoupled_key
            rotate(work, here, m, weights, places[r])
            put_in_panels(work, here, layer.decoupled_width, caches, cache + layer.cache_rotary, places[r])


@compiled
def keep_values(m, layer, weights, work, caches, rows, places, n_rows):
    """Write values, or their codes, into the cache."""
    if layer.value_shared:
        return
    at, row, step = m.encoded + layer.value, m.encoded_row, layer.value_kept
    if layer.value_decoded:
        step = m.decoded_row // m.heads
        by_heads(m, work, layer.value, layer.value_width, layer.value_blocks, weights, layer.value_decoder, step,
                 m.decoded, m.decoded_row, n_rows)  # fmt: skip
        at, row = m.decoded, m.decoded_row
    stride, kept = layer.value_stride, layer.value_kept
    for r in range(n_rows):
        cache = rows[r] * m.cache_numbers + layer.cache_values
        for g in range(layer.value_groups):
            group = cache + g * stride * m.context
            for start in range(0, stride, PANEL):
                width = min(PANEL, stride - start)
                here = group + start * m.context + places[r] * width
                copy(work, at + r * row + g * step + start, caches, here, min(width, kept - start))


@compiled
def softmax(m, layer, weights, work, caches, cache, h, place):
    """Scores of one head to weights, in place; 0 from the next character to the end of the panel."""
    at, n = m.scores + h * m.scores_row, place + 1
    whole = (n + PANEL - 1) // PANEL * PANEL
    if layer.key_norms:
        multiply(work, at, caches, cache + layer.cache_norms + h * m.scores_row, n)
    if layer.decoupled_width > 0:
        add(work, at, work, m.rotary_scores + h * m.scores_row, n)
    if layer.slopes >= 0:
        lower(work, at, n, weights[layer.slopes + h])
    for t in range(at + n, at + whole):
        work[t] = LOWEST
    total = exponentials(work, at, whole, highest(work, at, whole))
    scale(work, at, whole, np.float32(1.0) / total)


@compiled
def attend(m, layer, weights, work, caches, r, row, place):
    """One character's attention to its sequence up to itself: mixed values of all heads, into `mixed`."""
    cache, time = row * m.cache_numbers, m.scores_row
    n_panels = (place + PANEL) // PANEL
    n = n_panels * PANEL
    reading = m.reading + r * m.reading_row
    heads = m.heads // layer.key_groups  # that read the same keys
    for g in range(layer.key_groups):
        keys = cache + layer.cache_keys + g * layer.key_kept * time
        product(work, reading + g * heads * layer.key_stride, layer.key_stride, heads, caches, keys,
                layer.key_kept, n, work, m.scores + g * heads * time, time)  # fmt: skip
    if layer.decoupled_width > 0:
        part = m.encoded + r * m.encoded_row + layer.decoupled_query
        width = layer.decoupled_width
        product(
            work, part, width, m.heads, caches, cache + layer.cache_rotary, width, n, work, m.rotary_scores, time
        )
    mixed = m.mixed + r * m.mixed_row
    for h in range(m.heads):
        softmax(m, layer, weights, work, caches, cache, h, place)
    if layer.value_shared:
        for h in range(m.heads):
            keys = cache + layer.cache_keys + h // heads * layer.key_kept * time
            product_across(work, m.scores + h * time, caches, keys, layer.key_kept, n_panels, work,
                           mixed + h * layer.value_stride)  # fmt: skip
        return
    heads = m.heads // layer.value_groups
    for g in range(layer.value_groups):
        values = cache + layer.cache_values + g * layer.value_stride * m.context
        for start in range(0, layer.value_stride, PANEL):
            width = min(PANEL, layer.value_stride - start)
            product(work, m.scores + g * heads * time, time, heads, caches, values + start * m.context, place + 1,
                    width, work, mixed + g * heads * layer.value_stride + start, layer.value_stride)  # fmt: skip


@compiled
def feed_forward(m, layer, weights, work, indices, n_rows):
    """Into `out`. Squared ReLU leaves most numbers 0: for one row, only the others are multiplied."""
    product(work, m.seen, m.row, n_rows, weights, layer.up, m.width, m.hidden, work, m.hidden_x, m.hidden_row)
    if n_rows == 1 and not m.gelu:
        some: int = squeeze(work, m.hidden_x, m.hidden_row, work, m.sparse, indices)
        sparse_product(work, m.sparse, indices, some, weights, layer.down, m.hidden, m.width, work, m.out)
        return
    for r in range(n_rows):
        at = m.hidden_x + r * m.hidden_row
        if m.gelu:
            gelu(work, at, m.hidden)
        else:
            relu2(work, at, m.hidden)
    product(work, m.hidden_x, m.hidden_row, n_rows, weights, layer.down, m.hidden, m.width, work, m.out, m.row)


@compiled
def normalise_rows(m, work, weights, gain, n_rows):
    for r in range(n_rows):
        normalise(work, m.x + r * m.row, work, m.seen + r * m.row, m.width, weights, gain, m.layer_norm)


@compiled
def add_rows(m, work, n_rows):
    """Add `out` to the residual stream."""
    for r in range(n_rows):
        add(work, m.x + r * m.row, work, m.out + r * m.row, m.width)


@compiled
def embed(m, weights, work, ids, places, n_rows):
    for r in range(n_rows):
        at, embedding = m.x + r * m.row, m.embedding + ids[r] * m.width
        copy(weights, embedding, work, at, m.width)
        if m.positions >= 0:
            add(work, at, weights, m.positions + places[r] * m.width, m.width)


@compiled
def forward(model, layers, weights, caches, work, indices, ids, rows, places, n_rows):
    """Take `n_rows` characters in: into the caches, and their residual stream into `x`."""
    m = model[0]
    embed(m, weights, work, ids, places, n_rows)
    for number in range(layers.shape[0]):
        layer = layers[number]
        normalise_rows(m, work, weights, layer.attention_gain, n_rows)
        if m.conv > 0:
            convolve(m, layer, weights, work, caches, rows, n_rows)
        product(work, m.seen, m.row, n_rows, weights, layer.encoders, m.width, layer.n_encoded, work, m.encoded,
                m.encoded_row)  # fmt: skip
        code(m, work, layer.query, layer.query_width, layer.query_blocks, layer.query_gelu, layer.query_middle,
             weights, n_rows)  # fmt: skip
        code(m, work, layer.key, layer.key_width, layer.key_blocks, layer.key_gelu, layer.key_middle, weights,
             n_rows)  # fmt: skip
        if layer.value != layer.key:
            code(m, work, layer.value, layer.value_width, layer.value_blocks, layer.value_gelu,
                 layer.value_middle, weights, n_rows)  # fmt: skip
        queries(m, layer, weights, work, places, n_rows)
        keep_keys(m, layer, weights, work, caches, rows, places, n_rows)
        keep_values(m, layer, weights, work, caches, rows, places, n_rows)
        for r in range(n_rows):
            attend(m, layer, weights, work, caches, r, rows[r], places[r])
        n_mixed = m.heads * layer.value_stride
        product(work, m.mixed, m.mixed_row, n_rows, weights, layer.output, n_mixed, m.width, work, m.out, m.row)
        add_rows(m, work, n_rows)
        normalise_rows(m, work, weights, layer.hidden_gain, n_rows)
        feed_forward(m, layer, weights, work, indices, n_rows)
        add_rows(m, work, n_rows)


@compiled
def read_out(model, weights, work, n_rows):
    """Logits of what `forward` left, into `logits`."""
    m = model[0]
    normalise_rows(m, work, weights, m.gain, n_rows)
    product(work, m.seen, m.row, n_rows, weights, m.head, m.width, m.vocabulary, work, m.logits, m.logits_row)
