package wrangler

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// perdureKeys are the keys of our own table.
var perdureKeys = []string{"quota"}

// perdure reads our own table and returns the quota. Nobody else writes into this
// table, so every key that is not known is a mistake.
func (d *decoder) perdure(m *member) int64 {
	if m == nil {
		return 0
	}
	if m.value.kind != kindTable {
		d.add(m.line, "%q must be a table, not %s", m.key, m.value.kind)
		return 0
	}
	for _, k := range m.value.members {
		if !slices.Contains(perdureKeys, k.key) {
			d.add(k.line, "perdure has no key %q, only %s%s", k.key, quoted(perdureKeys), didYouMean(k.key, perdureKeys))
		}
	}
	quota := d.get(m.value, "quota")
	if quota == nil {
		return 0
	}
	bytes, ok := parseSize(quota.value)
	if !ok {
		d.add(quota.line, "\"quota\" must be a number of bytes above 0, or a string such as \"1GB\" or \"512MiB\"")
	}
	return bytes
}

// sizeUnits are matched in order, so that B comes after those that end in it.
var sizeUnits = []struct {
	suffix string
	bytes  int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"B", 1}, {"", 1},
}

// parseSize reads bytes as an integer, or as a string of a whole number and a
// unit: 1GB is 10^9 bytes, 1GiB is 2^30.
func parseSize(n *node) (int64, bool) {
	text := n.text
	if n.kind == kindInteger {
		text = strings.ReplaceAll(text, "_", "")
	} else if n.kind != kindString {
		return 0, false
	}
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		i, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || i <= 0 || i > math.MaxInt64/u.bytes {
			return 0, false
		}
		return i * u.bytes, true
	}
	return 0, false
}
