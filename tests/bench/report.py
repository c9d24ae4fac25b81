"""The measured table as markdown. Pure functions of {(client, work): [one dict a round]}."""

import statistics

import works


def cpu_ns(runs: list) -> float:
    return statistics.median(r["cpu"] / max(1, r["messages"]) * 1e9 for r in runs)


def p50_ns(runs: list) -> float:
    return statistics.median(r["p50_us"] for r in runs) * 1e3


def time_text(ns: float) -> str:
    return f"{ns:.1f} ns" if ns < 100 else f"{ns:.0f} ns" if ns < 1e4 else f"{ns / 1e3:.1f} µs"


def verdict(good: bool) -> str:
    return "ok" if good else "**short**"


def compared(results: dict, row: works.Row) -> str:
    measure = cpu_ns if row.metric == "cpu" else p50_ns
    client, work = row.ours
    reference = [measure(results[c, work]) for c in row.against if results.get((c, work))]
    if not results.get(row.ours) or len(reference) < len(row.against):
        return f"| {row.what} | {row.must} | not measured | | |"
    ours, theirs = measure(results[row.ours]), max(reference)
    ratio = f"{ours / theirs:.2f} ({time_text(theirs)})"
    return f"| {row.what} | {row.must} | {time_text(ours)} | {ratio} | {verdict(ours / theirs <= row.limit)} |"


def corked(results: dict) -> str:
    runs, raw = results.get((works.CORKED, "send packed")), results.get(("raw batch", "send packed"))
    must = f"≤ {works.CORKED_NS} ns a message"
    if not runs or not raw:
        return f"| send 16 B corked | {must} | not measured | | |"
    ours, limit = cpu_ns(runs), cpu_ns(raw)
    ratio = f"{ours / limit:.1f} × raw batches ({time_text(limit)})"
    return f"| send 16 B corked | {must} | {time_text(ours)} | {ratio} | {verdict(ours <= works.CORKED_NS)} |"


def deflated(results: dict) -> list:
    runs = results.get((works.OURS, "deflated"))
    if not runs:
        return []
    ours, zlib = runs[0]["ours"], runs[0]["zlib"]
    what = f"receive {runs[0]['bytes']} B JSON, deflated to {runs[0]['packed']}, no socket"
    ratio = f"{ours / zlib:.2f} ({time_text(zlib)})"
    good = verdict(ours / zlib <= works.DEFLATED)
    return [f"| {what} | ≤ {works.DEFLATED} × zlib's inflate alone | {time_text(ours)} | {ratio} | {good} |"]


def tls(results: dict) -> list:
    runs = results.get((works.OURS, "tls"))
    if not runs:
        return []
    ours, bare = runs[0]["ours_tls"] - runs[0]["ours"], runs[0]["bare_tls"] - runs[0]["bare"]
    must = f"≤ {works.TLS} × what SSL_read adds to recv"
    good = verdict(ours / bare <= works.TLS)
    return [f"| what TLS adds to receiving 16 B | {must} | {time_text(ours)} | {ours / bare:.2f} ({time_text(bare)}) | {good} |"]


def idle_kib(runs: list) -> float:
    return statistics.median((r["rss1_kb"] - r["rss0_kb"]) / r["messages"] for r in runs)


def idle(results: dict) -> list:
    runs, peer = results.get((works.OURS, "idle")), results.get(("libwebsockets", "idle"))
    if not runs:
        return ["| idle plain connection | | not measured | | |"]
    ours = idle_kib(runs)
    count = int(runs[0]["messages"])
    fds = statistics.median(r["fds"] for r in runs)
    threads = statistics.median(r["threads"] for r in runs)
    cpu = statistics.median(r["idle_cpu"] / r["idle_s"] for r in runs) * 1e3
    ratio = f"{ours / idle_kib(peer):.2f} × libwebsockets ({idle_kib(peer):.1f} KiB)" if peer else ""
    # What is not per connection (loop, timer, wake-up, standby) is not counted against the connections.
    one_each = (fds - count) < count * 0.02
    return [
        f"| idle plain connection | ≤ {works.IDLE_KIB} KiB | {ours:.1f} KiB | {ratio} | {verdict(ours <= works.IDLE_KIB)} |",
        f"| | one fd | {fds:.0f} for {count} | | {verdict(one_each)} |",
        f"| {count} engines in one process | ≤ {works.IDLE_THREADS} threads | {threads:.0f} | "
        f"| {verdict(threads <= works.IDLE_THREADS)} |",
        f"| | no CPU while idle, keepalive off | {cpu:.2f} ms a second | | {verdict(cpu <= works.IDLE_CPU_MS)} |",
    ]


def bounded(results: dict, row: works.Bound) -> str:
    runs = results.get(row.ours)
    if not runs:
        return f"| {row.what} | {row.must} | not measured | | |"
    if row.metric == "p99":
        ours = statistics.median(r["p99_us"] for r in runs) * 1e3
        shown = time_text(ours)
    elif row.metric == "allocations":
        ours = statistics.median(r["allocations"] for r in runs)
        shown = f"{ours:.4f}"
    else:
        ours = idle_kib(runs) if row.metric == "idle" else cpu_ns(runs)
        shown = f"{ours:.1f} KiB" if row.metric == "idle" else time_text(ours)
    return f"| {row.what} | {row.must} | {shown} | | {verdict(ours <= row.limit)} |"


def started(results: dict) -> list:
    """What an import costs beside an interpreter that does nothing."""
    runs = results.get((works.THREADS, "import"))
    if not runs:
        return []
    more = (runs[0]["import_s"] - runs[0]["empty_s"]) * 1e3
    good = verdict(more <= works.IMPORT_MS)
    return [f"| import wscengine | ≤ {works.IMPORT_MS} ms more than an empty interpreter | {more:.0f} ms | | {good} |"]


def table(results: dict, language: str) -> str:
    lines = ["| what | must | measured | ratio (reference) | |", "|---|---|---|---|---|"]
    if language in ("python", "go"):
        rows = works.PYTHON_ROWS if language == "python" else works.GO_ROWS
        lines += [bounded(results, r) if isinstance(r, works.Bound) else compared(results, r) for r in rows]
        return "\n".join(lines + started(results))
    rows = [compared(results, row) for row in works.C_ROWS]
    rows.insert(-1, corked(results))
    return "\n".join(lines + rows + deflated(results) + tls(results) + idle(results))


def everyone(results: dict) -> str:
    """Every client beside every other: median CPU a message, and how much of the wall time it was busy."""
    names = [
        w for w in works.WORKS if works.WORKS[w].mode in ("recv", "send") and any(work == w for _, work in results)
    ]
    heads = [*names, "round trip p50 / p99", "idle"]
    lines = ["| CPU a message | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for client in works.CLIENTS:
        cells = [time_text(cpu_ns(results[client, w])) if results.get((client, w)) else "" for w in names]
        trips = results.get((client, "round trip"))
        tail = ""
        if trips:
            tail = f"{p50_ns(trips) / 1e3:.1f} / {statistics.median(r['p99_us'] for r in trips):.0f} µs"
        held = results.get((client, "idle"))
        if any(cells) or tail:
            lines.append(f"| {client} | " + " | ".join([*cells, tail, f"{idle_kib(held):.1f} KiB" if held else ""]) + " |")
    return "\n".join(lines)


def instructions(counted: dict) -> str:
    names = [w for w in works.WORKS if any(work == w for _, work in counted)]
    lines = ["| instructions a message | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for client in works.CLIENTS:
        cells = [f"{counted[client, w]:,.0f}" if (client, w) in counted else "" for w in names]
        if any(cells):
            lines.append(f"| {client} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
