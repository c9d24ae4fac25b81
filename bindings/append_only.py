"""What may change in the ABI between two states of it: things are added, never taken away, moved, renumbered or given another meaning.

`violations(old, new)` is a pure function of two abi.json contents; tests/abi/test_append_only.py shows that each rule bites."""

# Table -> columns that are frozen with their row. Texts, docs and defaults are free to improve.
TABLES = {
    "statuses": ("python",),
    "close_codes": (),
    "options": ("type", "scope", "unit"),
    "events": ("session",),
}
# Names an option has in a language: one may be given later, but never changed or taken away.
OPTION_NAMES = ("python", "flag", "go")


def violations(old: dict, new: dict) -> list:
    found = []
    if old["pointer_bits"] != new["pointer_bits"]:
        return [f"layouts of {old['pointer_bits']} and {new['pointer_bits']} bit machines cannot be compared"]
    for table, frozen in TABLES.items():
        found += table_violations(table, frozen, old[table], new[table])
    found += option_violations(old["options"], new["options"])
    found += enum_violations(old["enums"], new["enums"])
    found += struct_violations(old["structs"], new["structs"])
    found += function_violations(old["functions"], new["functions"])
    found += [f"handle {h} was removed" for h in old["handles"] if h not in new["handles"]]
    return found


def table_violations(table: str, frozen: tuple, old: list, new: list) -> list:
    found = []
    rows = {r["name"]: r for r in new}
    for row in old:
        now = rows.get(row["name"])
        if now is None:
            found.append(f"{table}: {row['name']} ({row['number']}) was removed or renamed")
            continue
        if now["number"] != row["number"]:
            found.append(f"{table}: {row['name']} was renumbered from {row['number']} to {now['number']}")
        for column in frozen:
            if now[column] != row[column]:
                found.append(f"{table}: {row['name']}: {column} changed from {row[column]!r} to {now[column]!r}")
    numbers = {}
    for row in new:
        if row["number"] in numbers:
            found.append(f"{table}: {row['name']} and {numbers[row['number']]} share the number {row['number']}")
        numbers[row["number"]] = row["name"]
    return found


def option_violations(old: list, new: list) -> list:
    found = []
    rows = {r["name"]: r for r in new}
    for row in old:
        now = rows.get(row["name"])
        if now is None:
            continue  # said by table_violations
        for language in OPTION_NAMES:
            if row[language] and now[language] != row[language]:
                found.append(
                    f"options: {row['name']}: its {language} name changed from {row[language]!r} to {now[language]!r}"
                )
        if now["min"] > row["min"] or now["max"] < row["max"]:
            found.append(
                f"options: {row['name']}: values that were legal no longer are "
                f"({row['min']}..{row['max']} became {now['min']}..{now['max']})"
            )
    for language in OPTION_NAMES:
        given = [r[language] for r in new if r[language]]
        found += [
            f"options: two options have the {language} name {n!r}"
            for n in sorted({n for n in given if given.count(n) > 1})
        ]
    return found


def enum_violations(old: dict, new: dict) -> list:
    found = []
    for enum, constants in old.items():
        if enum not in new:
            found.append(f"enum {enum} was removed")
            continue
        for name, value in constants.items():
            if name not in new[enum]:
                found.append(f"enum {enum}: {name} was removed or renamed")
            elif new[enum][name] != value:
                found.append(f"enum {enum}: {name} was {value} and is {new[enum][name]}")
    return found


def struct_violations(old: dict, new: dict) -> list:
    found = []
    for name, struct in old.items():
        if name not in new:
            found.append(f"struct {name} was removed")
            continue
        now = new[name]
        fields = {f["name"]: f for f in now["fields"]}
        for f in struct["fields"]:
            g = fields.get(f["name"])
            if g is None:
                found.append(f"struct {name}: field {f['name']} was removed or renamed")
            elif g["type"] != f["type"]:
                found.append(f"struct {name}: field {f['name']} was {f['type']} and is {g['type']}")
            elif (g["offset"], g["size"]) != (f["offset"], f["size"]):
                found.append(f"struct {name}: field {f['name']} moved from offset {f['offset']} to {g['offset']}")
        found += growth_violations(name, struct, now)
    return found


def growth_violations(name: str, old: dict, new: dict) -> list:
    if not old["grows"]:
        same = old["size"] == new["size"] and len(old["fields"]) == len(new["fields"])
        return (
            [] if same else [f"struct {name} has no struct_size: it is frozen at {old['size']} bytes and these fields"]
        )
    if new["size"] < old["size"]:
        return [f"struct {name} shrank from {old['size']} to {new['size']} bytes"]
    known = {f["name"] for f in old["fields"]}
    # A field in what was padding leaves struct_size as it was: nobody could tell whether the caller knows the field.
    return [
        f"struct {name}: new field {f['name']} lies inside the {old['size']} bytes it had; add it at the end, past its padding"
        for f in new["fields"]
        if f["name"] not in known and f["offset"] < old["size"]
    ]


def function_violations(old: dict, new: dict) -> list:
    found = []
    for name, f in old.items():
        g = new.get(name)
        if g is None:
            found.append(f"function {name} was removed or renamed")
        elif (g["returns"], g["parameters"]) != (f["returns"], f["parameters"]):
            was = f"{f['returns']} ({', '.join(f['parameters']) or 'void'})"
            now = f"{g['returns']} ({', '.join(g['parameters']) or 'void'})"
            found.append(f"function {name}: its signature was {was} and is {now}")
    return found
