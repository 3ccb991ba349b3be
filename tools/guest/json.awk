# Flattens JSON: one "path<TAB>value" line for each string, number and literal, object keys and array
# indices joined with ".". With -v get=PATH prints that one value with its newlines as they are.
# Enough for what cloud-init's NoCloud files hold; says nothing of malformed input.
function ws() { while (substr(s, p, 1) ~ /[ \t\r\n]/) p++ }
function str(   r, c, h) {
    p++
    r = ""
    while (p <= length(s)) {
        c = substr(s, p, 1)
        if (c == "\"") { p++; return r }
        if (c == "\\") {
            c = substr(s, ++p, 1)
            if (c == "n") c = "\n"
            else if (c == "t") c = "\t"
            else if (c == "r") c = "\r"
            else if (c == "b" || c == "f") c = " "
            else if (c == "u") { h = substr(s, p + 1, 4); p += 4; c = chr(h) }
        }
        r = r c
        p++
    }
    return r
}
function chr(h,   i, n) {
    n = 0
    for (i = 1; i <= 4; i++) n = n * 16 + index("0123456789abcdef", tolower(substr(h, i, 1))) - 1
    return n > 0 && n < 128 ? sprintf("%c", n) : "?"
}
function out(path, v) {
    if (get != "") { if (path == get) printf "%s", v; return }
    gsub(/\n/, "\\n", v)
    print path "\t" v
}
function val(path,   c, k, i, r) {
    ws()
    c = substr(s, p, 1)
    if (c == "{") {
        p++; ws()
        while (p <= length(s) && substr(s, p, 1) != "}") {
            k = str(); ws(); p++
            val(path == "" ? k : path "." k)
            ws(); if (substr(s, p, 1) == ",") p++; ws()
        }
        p++
    } else if (c == "[") {
        p++; i = 0; ws()
        while (p <= length(s) && substr(s, p, 1) != "]") {
            val(path == "" ? i : path "." i); i++
            ws(); if (substr(s, p, 1) == ",") p++; ws()
        }
        p++
    } else if (c == "\"") out(path, str())
    else {
        r = ""
        while (p <= length(s) && substr(s, p, 1) !~ /[],} \t\r\n]/) r = r substr(s, p++, 1)
        if (r == "") p++
        out(path, r)
    }
}
{ if ($0 !~ /^#/ || started) { s = s $0 "\n"; started = 1 } }
END { p = 1; val("") }
