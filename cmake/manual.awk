# Makes bulkhead.conf(5) of docs/CONFIGURATION.md, so that the reference is written once.
# Takes the Markdown that is used there: headings, paragraphs, lists, fenced examples and tables.

function inline(text,    link) {
    gsub(/\\\|/, "|", text)
    gsub(/\\/, "\\e", text)
    gsub(/`/, "", text)
    while (match(text, /\[[^]]*\]\([^)]*\)/)) { # a link: what it shows
        link = substr(text, RSTART + 1, RLENGTH - 1)
        sub(/\].*/, "", link)
        text = substr(text, 1, RSTART - 1) link substr(text, RSTART + RLENGTH)
    }
    gsub(/\. /, ".\n", text)
    return text ~ /^[.']/ ? "\\&" text : text
}

function leave_list() {
    if (in_list) print ".El"
    in_list = 0
}

# One row of a table: what the first cell names, and a sentence of the others.
function row(line,    cell, count, i, text) {
    gsub(/\\\|/, "\001", line)
    count = split(line, cell, / *\| */)
    for (i = 2; i < count; i++) gsub(/\001/, "|", cell[i])
    if (!in_list) print ".Bl -tag -width Ds"
    in_list = 1
    print ".It Ic " inline(cell[2])
    text = inline(cell[count - 1])
    if (text != "") print text
    if (count < 6 || cell[3] == "see right") return
    print ".br"
    print "Values: " (cell[3] == "" ? "any" : inline(cell[3])) \
        (cell[4] == "" ? "." : "; default: " inline(cell[4]) ".")
}

BEGIN {
    print ".Dd November 27, 2026"
    print ".Dt BULKHEAD.CONF 5"
    print ".Os"
    print ".Sh NAME"
    print ".Nm bulkhead.conf"
    print ".Nd configuration of the Bulkhead MQTT broker"
    print ".Sh DESCRIPTION"
    heading = 1
}

/^```/ { print (fenced ? ".Ed" : ".Bd -literal -offset indent"); fenced = !fenced; next }
fenced { print inline($0); next }
/^# / { next }
/^## / {
    leave_list()
    print ".Sh " toupper(inline(substr($0, 4)))
    heading = 1
    next
}
/^\| *directive/ || /^\| *-/ || /^\|-/ { next }
/^\|/ { row($0); next }
/^- / {
    if (!in_list) print ".Bl -bullet"
    in_list = 1
    print ".It"
    print inline(substr($0, 3))
    next
}
/^ *$/ { blank = 1; next }
/^  / { sub(/^ +/, ""); print inline($0); next }
{
    leave_list()
    if (blank && !heading) print ".Pp"
    blank = heading = 0
    print inline($0)
}
END {
    leave_list()
    print ".Sh SEE ALSO"
    print ".Xr bulkheadctl 8 ,"
    print ".Xr bulkheadd 8"
}
