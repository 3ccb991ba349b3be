# The small part of YAML that tests write by hand, flattened as json.awk does: top-level keys, lists of
# scalars (runcmd), lists of flat maps (write_files), and "|" blocks. Anything else is passed over.
function out(path, v) {
    if (get != "") { if (path == get) printf "%s", v; return }
    gsub(/\n/, "\\n", v)
    print path "\t" v
}
function scalar(v) {
    sub(/^[ \t]+/, "", v); sub(/[ \t]+$/, "", v)
    if (v ~ /^".*"$/ || v ~ /^'.*'$/) v = substr(v, 2, length(v) - 2)
    return v
}
function flush() { if (block != "") { out(block, text); block = "" } }
function pair(path, rest) {
    rest = scalar(rest)
    if (rest ~ /^\|/) { block = path; text = ""; depth = -1 } else if (rest != "") out(path, rest)
}
block != "" {
    match($0, /^ */); n = RLENGTH
    if ($0 ~ /^ *$/) { text = text "\n"; next }
    if (depth < 0 && n > indent) depth = n
    if (depth >= 0 && n >= depth) { text = text substr($0, depth + 1) "\n"; next }
    flush()
}
/^[ \t]*(#|$)/ { next }
/^[A-Za-z_][A-Za-z0-9_]*:/ {
    indent = 0; i = -1; key = $0; sub(/:.*/, "", key); rest = $0; sub(/^[^:]*:/, "", rest)
    pair(key, rest); next
}
/^ *- / {
    match($0, /^ */); indent = RLENGTH; i++; rest = $0; sub(/^ *- /, "", rest)
    if (rest ~ /^[a-z_]+: / || rest ~ /^[a-z_]+:$/) {
        k = rest; sub(/:.*/, "", k); sub(/^[^:]*:/, "", rest); indent += 2; pair(key "." i "." k, rest)
    } else pair(key "." i, rest)
    next
}
/^ +[a-z_]+:/ {
    match($0, /^ */); indent = RLENGTH; k = $0; sub(/^ */, "", k); rest = k
    sub(/:.*/, "", k); sub(/^[^:]*:/, "", rest); pair(key "." i "." k, rest)
}
END { flush() }
