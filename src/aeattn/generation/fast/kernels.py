"""The products, written as vectors of 16 numbers for LLVM: small tiles whose sums stay in registers.

LLVM turns the vectors into what the processor has. Arrays are float32, one-dimensional; a place in them is an
offset in numbers. Matrices to the right lie in panels (`layout.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from aeattn.generation.fast.layout import LANES, PANEL

FAST = {"nnan", "reassoc", "contract", "nsz", "arcp"}
I32, I64, F32 = ir.IntType(32), ir.IntType(64), ir.FloatType()
VECTOR, INTEGERS = ir.VectorType(F32, LANES), ir.VectorType(I32, LANES)
WIDE = bool(llvmlite.binding.get_host_cpu_features().get("avx512f"))
TALL = 8 if WIDE else 2  # rows of a tile: their sums must fit the registers


def compiled(function: Callable[..., Any], *, keep: bool = False) -> Any:
    """Compile on first use. With `keep`, the machine code goes to disk for later starts, if there is a place."""
    try:
        return njit(cache=keep, nogil=True, fastmath=FAST, error_model="numpy")(function)
    except RuntimeError:
        return njit(nogil=True, fastmath=FAST, error_model="numpy")(function)


class _Emitter:
    """Shorthand over an LLVM builder."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self.context, self.builder = context, builder
        self.types, self.arguments = signature.args, arguments
        function_type = ir.FunctionType(VECTOR, [VECTOR, VECTOR, VECTOR])
        self.fma_function = cgutils.get_or_insert_function(builder.module, function_type, f"llvm.fma.v{LANES}f32")

    def pointer(self, number: int) -> Any:
        """To the first number of the array that is an argument."""
        array = make_array(self.types[number])(self.context, self.builder, self.arguments[number])
        return array.data

    def add(self, a: Any, b: int | Any) -> Any:
        return self.builder.add(a, I64(b) if isinstance(b, int) else b)

    def times(self, a: Any, b: int | Any) -> Any:
        return self.builder.mul(a, I64(b) if isinstance(b, int) else b)

    def vector(self, pointer: Any, at: Any) -> Any:
        address = self.builder.bitcast(self.builder.gep(pointer, [at]), VECTOR.as_pointer())
        return self.builder.load(address, align=4)

    def store(self, vector: Any, pointer: Any, at: Any) -> None:
        address = self.builder.bitcast(self.builder.gep(pointer, [at]), VECTOR.as_pointer())
        self.builder.store(vector, address, align=4)

    def spread(self, pointer: Any, at: Any) -> Any:
        """One number in all lanes."""
        number = self.builder.load(self.builder.gep(pointer, [at]), align=4)
        first = self.builder.insert_element(ir.Constant(VECTOR, ir.Undefined), number, I32(0))
        lanes = ir.Constant(ir.VectorType(I32, LANES), None)
        return self.builder.shuffle_vector(first, ir.Constant(VECTOR, ir.Undefined), lanes)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        return self.builder.call(self.fma_function, [a, b, c])

    def total(self, vector: Any) -> Any:
        name = f"llvm.vector.reduce.fadd.v{LANES}f32"
        function = cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(F32, [F32, VECTOR]), name)
        return self.builder.call(function, [F32(0.0), vector], fastmath=("reassoc",))

    def squeezed(self, vector: Any, mask: Any) -> Any:
        """The lanes that the mask has, moved together to the front."""
        kind = "i32" if vector.type == INTEGERS else "f32"
        function_type = ir.FunctionType(vector.type, [vector.type, mask.type, vector.type])
        name = f"llvm.experimental.vector.compress.v{LANES}{kind}"
        function = cgutils.get_or_insert_function(self.builder.module, function_type, name)
        return self.builder.call(function, [vector, mask, ir.Constant(vector.type, ir.Undefined)])

    def loop(
        self, start: Any, stop: Any, step: int, sums: list[Any], body: Callable[[Any, list[Any]], list[Any]]
    ) -> Any:
        """`for i in range(start, stop, step)` while a whole step is left, with running values in registers.

        Returns where it stopped, and the sums."""
        builder, before = self.builder, self.builder.block
        head, inside, after = (builder.append_basic_block(name) for name in ("head", "inside", "after"))
        builder.branch(head)
        builder.position_at_end(head)
        i = builder.phi(I64)
        i.add_incoming(start, before)
        running = [builder.phi(value.type) for value in sums]
        for phi, value in zip(running, sums, strict=True):
            phi.add_incoming(value, before)
        builder.cbranch(builder.icmp_signed("<=", self.add(i, step), stop), inside, after)
        builder.position_at_end(inside)
        new = body(i, running)
        following = self.add(i, step)
        i.add_incoming(following, builder.block)
        for phi, value in zip(running, new, strict=True):
            phi.add_incoming(value, builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        return i, running


def _tile(rows: int, vectors: int, unroll: int, sparse: bool = False) -> Any:
    """y[r, :] = sum_i x[r, i] w[i, :] for `rows` rows and one panel of `vectors` vectors.

    The sum is kept in `unroll` parts, so that few rows keep the processor busy too. With `sparse`, row i of the
    matrix is that of `indices[i]`.
    """

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        e = _Emitter(context, builder, signature, arguments)
        x, w, y = e.pointer(0), e.pointer(3), e.pointer(6)
        x_at, x_row, w_at, n_in, y_at, y_row = (arguments[i] for i in (1, 2, 4, 5, 7, 8))
        indices = e.pointer(9) if sparse else None
        row_at = [e.add(x_at, e.times(x_row, r)) for r in range(rows)]

        def steps(parts: int) -> Callable[[Any, list[Any]], list[Any]]:
            def body(i: Any, sums: list[Any]) -> list[Any]:
                new = list(sums)
                for part in range(parts):
                    here = e.add(i, part)
                    row = builder.sext(builder.load(builder.gep(indices, [here])), I64) if sparse else here
                    start = e.add(w_at, e.times(row, vectors * LANES))
                    tile = [e.vector(w, e.add(start, v * LANES)) for v in range(vectors)]
                    for r in range(rows):
                        number = e.spread(x, e.add(row_at[r], here))
                        for v in range(vectors):
                            at = (part * rows + r) * vectors + v
                            new[at] = e.fma(number, tile[v], sums[at])
                return new

            return body

        zeros = [ir.Constant(VECTOR, None)] * (unroll * rows * vectors)
        i, sums = e.loop(I64(0), n_in, unroll, zeros, steps(unroll))
        first = rows * vectors
        if unroll > 1:
            merged = sums[:first]
            for part in range(1, unroll):
                merged = [builder.fadd(a, b) for a, b in zip(merged, sums[part * first :][:first], strict=True)]
            _, sums = e.loop(i, n_in, 1, merged, steps(1))
        for r in range(rows):
            for v in range(vectors):
                e.store(sums[r * vectors + v], y, e.add(y_at, e.add(e.times(y_row, r), v * LANES)))
        return context.get_dummy_value()

    if sparse:

        @intrinsic
        def sparse_tile(
            _: Any,
            x: Any,
            x_at: Any,
            x_row: Any,
            w: Any,
            w_at: Any,
            n_in: Any,
            y: Any,
            y_at: Any,
            y_row: Any,
            indices: Any,
        ) -> Any:
            return types.void(x, x_at, x_row, w, w_at, n_in, y, y_at, y_row, indices), emit

        return sparse_tile

    @intrinsic
    def tile(
        _: Any, x: Any, x_at: Any, x_row: Any, w: Any, w_at: Any, n_in: Any, y: Any, y_at: Any, y_row: Any
    ) -> Any:
        return types.void(x, x_at, x_row, w, w_at, n_in, y, y_at, y_row), emit

    return tile


def _across(columns: int) -> Any:
    """y[c] = sum_t x[t] w[c, t] for `columns` rows c of a matrix whose *t* lie in panels: (panels, rows, 32)."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        e = _Emitter(context, builder, signature, arguments)
        x, w, y = e.pointer(0), e.pointer(2), e.pointer(6)
        x_at, w_at, panel_size, n_panels, y_at = (arguments[i] for i in (1, 3, 4, 5, 7))

        def body(panel: Any, sums: list[Any]) -> list[Any]:
            new = list(sums)
            x_here, w_here = e.add(x_at, e.times(panel, PANEL)), e.add(w_at, e.times(panel, panel_size))
            for v in range(0, PANEL, LANES):
                part = e.vector(x, e.add(x_here, v))
                for c in range(columns):
                    new[c] = e.fma(part, e.vector(w, e.add(w_here, c * PANEL + v)), new[c])
            return new

        zeros = [ir.Constant(VECTOR, None)] * columns
        _, sums = e.loop(I64(0), n_panels, 1, zeros, body)
        for c in range(columns):
            builder.store(e.total(sums[c]), builder.gep(y, [e.add(y_at, c)]))
        return context.get_dummy_value()

    @intrinsic
    def across(
        _: Any, x: Any, x_at: Any, w: Any, w_at: Any, panel_size: Any, n_panels: Any, y: Any, y_at: Any
    ) -> Any:
        return types.void(x, x_at, w, w_at, panel_size, n_panels, y, y_at), emit

    return across


@intrinsic
def highest(_: Any, x: Any, x_at: Any, n: Any) -> Any:
    """The largest of n numbers, n a multiple of 32."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        e = _Emitter(context, builder, signature, arguments)
        x, (_, x_at, n) = e.pointer(0), arguments

        def body(i: Any, most: list[Any]) -> list[Any]:
            new = [e.vector(x, e.add(x_at, e.add(i, v * LANES))) for v in range(2)]
            return [builder.select(builder.fcmp_ordered(">", a, b), a, b) for a, b in zip(new, most, strict=True)]

        lowest = ir.Constant(VECTOR, [-3.0e38] * LANES)
        _, most = e.loop(I64(0), n, 2 * LANES, [lowest, lowest], body)
        joined = builder.select(builder.fcmp_ordered(">", *most), *most)
        name = f"llvm.vector.reduce.fmax.v{LANES}f32"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(F32, [VECTOR]), name)
        return builder.call(function, [joined], fastmath=("nnan",))

    return types.float32(x, x_at, n), emit


@intrinsic
def squeeze(_: Any, x: Any, x_at: Any, n: Any, y: Any, y_at: Any, indices: Any) -> Any:
    """The squares of those of n numbers that are more than 0, into y, and which they were; returns how many.

    n is a multiple of 16. Whole vectors are written: up to 16 numbers beyond the last.
    """

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        e = _Emitter(context, builder, signature, arguments)
        x, y, indices = e.pointer(0), e.pointer(3), e.pointer(5)
        x_at, n, y_at = (arguments[i] for i in (1, 2, 4))
        zero, lanes = ir.Constant(VECTOR, None), ir.Constant(INTEGERS, list(range(LANES)))

        def body(i: Any, count: list[Any]) -> list[Any]:
            numbers = e.vector(x, e.add(x_at, i))
            positive = builder.fcmp_ordered(">", numbers, zero)
            squares = builder.fmul(numbers, numbers)
            first = builder.insert_element(ir.Constant(INTEGERS, ir.Undefined), builder.trunc(i, I32), I32(0))
            spread = builder.shuffle_vector(first, first, ir.Constant(INTEGERS, None))
            e.store(e.squeezed(squares, positive), y, e.add(y_at, count[0]))
            which = e.squeezed(builder.add(spread, lanes), positive)
            address = builder.bitcast(builder.gep(indices, [count[0]]), INTEGERS.as_pointer())
            builder.store(which, address, align=4)
            bits = builder.zext(builder.bitcast(positive, ir.IntType(LANES)), I64)
            return [e.add(count[0], builder.ctpop(bits))]

        return e.loop(I64(0), n, LANES, [I64(0)], body)[1][0]

    return types.int64(x, x_at, n, y, y_at, indices), emit


@intrinsic
def float_of_bits(_: Any, bits: Any) -> Any:
    """The float32 with these 32 bits."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], F32)

    return types.float32(types.int32), emit


@intrinsic
def double_of_bits(_: Any, bits: Any) -> Any:
    """The float64 with these 64 bits."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), emit


_tall, _four, _one = _tile(TALL, 2, 1), _tile(4, 2, 1), _tile(1, 2, 4)
_one_narrow, _sparse, _sparse_narrow = _tile(1, 1, 8), _tile(1, 2, 4, sparse=True), _tile(1, 1, 8, sparse=True)
_eight_across, _one_across = _across(8), _across(1)


@compiled
def product(x, x_at, x_row, rows, w, w_at, n_in, n_out, y, y_at, y_row):
    """y = x w: (rows, n_in) times (n_in, n_out) in panels. Rows are `x_row` and `y_row` numbers apart. Whole
    vectors are written: up to 15 numbers beyond n_out."""
    whole = (n_out + LANES - 1) // LANES // 2  # panels of two vectors
    for panel in range(whole):
        w_here, y_here = w_at + panel * n_in * PANEL, y_at + panel * PANEL
        r = 0
        while r + TALL <= rows:
            _tall(x, x_at + r * x_row, x_row, w, w_here, n_in, y, y_here + r * y_row, y_row)
            r += TALL
        while r + 4 <= rows:
            _four(x, x_at + r * x_row, x_row, w, w_here, n_in, y, y_here + r * y_row, y_row)
            r += 4
        while r < rows:
            _one(x, x_at + r * x_row, x_row, w, w_here, n_in, y, y_here + r * y_row, y_row)
            r += 1
    if n_out > whole * PANEL:
        for r in range(rows):
            x_here, y_here = x_at + r * x_row, y_at + r * y_row + whole * PANEL
            _one_narrow(x, x_here, x_row, w, w_at + whole * n_in * PANEL, n_in, y, y_here, y_row)


@compiled
def sparse_product(x, x_at, indices, n_some, w, w_at, n_in, n_out, y, y_at):
    """y = x w for one row of which only some numbers are not 0: `x` has those, `indices` says which they are."""
    whole = (n_out + LANES - 1) // LANES // 2
    for panel in range(whole):
        _sparse(x, x_at, 0, w, w_at + panel * n_in * PANEL, n_some, y, y_at + panel * PANEL, 0, indices)
    if n_out > whole * PANEL:
        _sparse_narrow(x, x_at, 0, w, w_at + whole * n_in * PANEL, n_some, y, y_at + whole * PANEL, 0, indices)


@compiled
def product_across(x, x_at, w, w_at, n_rows, n_panels, y, y_at):
    """y[c] = sum_t x[t] w[c, t], where w lies as keys do in a cache: (n_panels, n_rows, 32 characters)."""
    c = 0
    while c + 8 <= n_rows:
        _eight_across(x, x_at, w, w_at + c * PANEL, n_rows * PANEL, n_panels, y, y_at + c)
        c += 8
    while c < n_rows:
        _one_across(x, x_at, w, w_at + c * PANEL, n_rows * PANEL, n_panels, y, y_at + c)
        c += 1
