# What gdb makes of the program at a stop, as JSON on one line: frames with their lines and variables, types, lines.
import gdb, json

EXPRESSIONS = [
    "node->name", "node->state", "node->tilt", "node->visible", "node->level", "node->corners[1].x",
    "node->corners[2].y", "node->whole", "node->high", "node->bytes[3]", "node->next", "node->weight",
    "nodes[1].tilt", "nodes[0].corners[1].x", "&nodes[2].corners[1]", "matrix[1][2]", "sizeof(struct node)",
    "(u8)nodes[0].whole", "nodes[1].next - nodes", "(short)nodes[0].low", "-nodes[0].tilt / 2", "~nodes[2].level",
    "nodes[0].level % 7 << 3", "nodes[1].state == GONE", "nodes[0].corners[0].x < nodes[0].corners[1].x",
    "*(u32 *)&nodes[0].whole", "(long)ratio", "((struct point *)nodes[0].corners)[2].y",
]

def number(value):
    if value.is_optimized_out:
        return "optimized out"
    kind = value.type.strip_typedefs().code
    if kind in (gdb.TYPE_CODE_INT, gdb.TYPE_CODE_ENUM, gdb.TYPE_CODE_PTR, gdb.TYPE_CODE_CHAR, gdb.TYPE_CODE_BOOL):
        return str(int(value) & 0xffffffffffffffff)
    if kind == gdb.TYPE_CODE_ARRAY and value.address is not None:
        return str(int(value.address))
    if kind == gdb.TYPE_CODE_FLT:
        return str(float(value))
    return None

def ask(expression):
    try:
        return number(gdb.parse_and_eval(expression))
    except (gdb.error, gdb.MemoryError) as error:
        return "optimized out" if "optimized out" in str(error) else None

def variables(frame):
    found, block = {}, frame.block()
    while block is not None and not block.is_global and not block.is_static:
        for symbol in block:
            if (symbol.is_variable or symbol.is_argument) and symbol.name not in found:
                try:
                    found[symbol.name] = number(frame.read_var(symbol, block))
                except gdb.error as error:
                    found[symbol.name] = "optimized out" if "optimized out" in str(error) else None
        if block.function is not None:
            break
        block = block.superblock
    return found

def frames():
    frame, found = gdb.newest_frame(), []
    while frame is not None:
        frame.select()
        found.append({
            "name": frame.name(), "line": frame.find_sal().line, "pc": str(frame.pc()),
            "inlined": frame.type() == gdb.INLINE_FRAME, "variables": variables(frame),
            "values": {e: ask(e) for e in EXPRESSIONS},
        })
        frame = frame.older()
    return found

def fields(name):
    return [[f.name or "", f.bitpos, f.bitsize, f.type.sizeof] for f in gdb.lookup_type(name).fields()]

def lines():
    found = {}
    for function in ["probe", "weight_of", "visit", "entry_values", "work", "_start"]:
        symtab = gdb.lookup_static_symbol(function) or gdb.lookup_global_symbol(function)
        block = gdb.block_for_pc(int(symtab.value().address))
        while block.function is None or block.function.name != function:
            block = block.superblock
        for entry in symtab.symtab.linetable():
            if block.start <= entry.pc < block.end and entry.line > 0:
                found.setdefault(str(entry.pc), []).append(entry.line)
    return found

gdb.execute("set pagination off")
gdb.execute("break probe")
gdb.execute("run")
gdb.execute("gcore " + core)
answer = {"frames": frames(), "types": {n: fields(n) for n in ["struct node", "struct point", "struct message"]}, "lines": lines()}
print("ANSWER " + json.dumps(answer))
gdb.execute("kill")
