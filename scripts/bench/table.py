"""The table: a line for each row and server, minimum and median of the rounds."""

from statistics import median

HEAD = ("row", "server", "CPU-ms", "per", "wall ms", "per second", "generator CPU-ms", "CPU : ours")


def per(record, value):
    """A figure of a whole run for each MB (1,000,000 bytes) or each request of it."""
    if record["unit"] == "MB":
        return value / (record["bytes"] / 1e6)
    return value / max(record["items"], 1)


def figure(value):
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3f}" if value < 1 else f"{value:.2f}"


def pair(values):
    values = list(values)
    return f"{figure(min(values))} / {figure(median(values))}"


def rate(records):
    def one(it):
        amount = it["bytes"] / 1e6 if it["unit"] == "MB" else it["items"]
        return amount / it["seconds"]

    values = [one(it) for it in records]
    unit = " MB" if records[0]["unit"] == "MB" else ""
    return f"{figure(max(values))} / {figure(median(values))}{unit}"


def line(row, server, records, ours):
    unit = records[0]["unit"]
    if unit == "memory":
        text = f"{pair(it['rss_mb'] for it in records)} MB; {figure(max(it['highest_mb'] for it in records))} MB at its highest"
        return (row, server, text, "", "", "", "", "")
    if unit == "syncs":
        text = f"{figure(records[0]['syncs'] / records[0]['items'])} syncs"
        return (row, server, text, "blob", "", "", "", "")
    cpu = [per(it, it["cpu_ms"]) for it in records]
    text = pair(cpu)
    database = [per(it, it.get("database_cpu_ms", 0)) for it in records]
    if any(database):
        text += f" + {pair(database)} in PostgreSQL"
    # Of a transfer the whole time is told, of requests how long one takes.
    whole = unit in ("MB", "blob")
    walls = [it["seconds"] * 1e3 if whole else it["p50_ms"] for it in records]
    generator = [per(it, it["generator_cpu_ms"]) for it in records if "generator_cpu_ms" in it]
    ratio = ""
    if ours:
        own = median(per(it, it["cpu_ms"]) for it in ours)
        ratio = f"{median(cpu) / own:.2f}" if own else ""
    rates = "" if unit == "start" else rate(records)
    return (
        row,
        server,
        text,
        unit,
        pair(walls),
        rates,
        figure(median(generator)) if generator else "",
        ratio,
    )


def lines(records):
    rows = list(dict.fromkeys(it["row"] for it in records))
    servers = list(dict.fromkeys(it["server"] for it in records))
    for row in rows:
        ours = None
        for server in servers:
            found = [it for it in records if it["row"] == row and it["server"] == server]
            if found:
                yield line(row if ours is None else "", server, found, ours)
                ours = ours or found


def markdown(records):
    """The table as Markdown, in columns that line up."""
    table = [HEAD, *lines(records)]
    widths = [max(len(cells[column]) for cells in table) for column in range(len(HEAD))]
    rule = ["-" * width for width in widths]
    table.insert(1, rule)
    rows = (
        " | ".join(f"{cell:<{width}}" for cell, width in zip(it, widths, strict=True))
        for it in table
    )
    return "\n".join(f"| {row} |" for row in rows)
