package jsonvalue

import (
	"bytes"
	"cmp"
	"slices"
)

// Members with the same name are united at the end, for the whole text at once: a
// byte that stays is copied once. Each object by itself, when it ends, would be copied
// as often as it is deep, and a body of a megabyte can be 500 deep.

// span says where a member is in a parser's out.
type span struct {
	name, colon int // its name begins and ends
	value, end  int // its value does
}

// repeat is an object in which a name comes more than once.
type repeat struct {
	start, end int    // in out
	kept       []span // what it is to consist of
}

// noteRepeats looks at the members of an object that begins at start and has just ended.
func (p *parser) noteRepeats(start int, spans []span) {
	if !p.anyRepeated(spans) {
		return
	}
	var kept []span
	index := make(map[string]int, len(spans))
	for _, s := range spans {
		name := unquote(p.out[s.name:s.colon])
		if i, ok := index[name]; ok {
			kept[i].value, kept[i].end = s.value, s.end
			continue
		}
		index[name] = len(kept)
		kept = append(kept, s)
	}
	p.repeats = append(p.repeats, repeat{start, len(p.out), kept})
}

// anyRepeated reports whether two members have the same name. Most objects are
// small and have none: those cost no allocation.
func (p *parser) anyRepeated(spans []span) bool {
	if len(spans) > 8 {
		names := make(map[string]struct{}, len(spans))
		for _, s := range spans {
			names[unquote(p.out[s.name:s.colon])] = struct{}{}
		}
		return len(names) < len(spans)
	}
	for i, s := range spans {
		for _, t := range spans[:i] {
			if sameName(p.out[s.name:s.colon], p.out[t.name:t.colon]) {
				return true
			}
		}
	}
	return false
}

func sameName(a, b Value) bool {
	if bytes.IndexByte(a, '\\') < 0 && bytes.IndexByte(b, '\\') < 0 {
		return bytes.Equal(a, b)
	}
	return unquote(a) == unquote(b)
}

// united returns out with the objects that are noted in repeats as they are to be.
func (p *parser) united() Value {
	if len(p.repeats) == 0 {
		return p.out
	}
	slices.SortFunc(p.repeats, func(a, b repeat) int { return cmp.Compare(a.start, b.start) })
	return p.appendUnited(make([]byte, 0, len(p.out)), 0, len(p.out))
}

// appendUnited appends what stays of out[from:to], which is no part of an object.
func (p *parser) appendUnited(dst []byte, from, to int) []byte {
	for {
		i, _ := slices.BinarySearchFunc(p.repeats, from, func(r repeat, at int) int { return cmp.Compare(r.start, at) })
		if i == len(p.repeats) || p.repeats[i].start >= to {
			return append(dst, p.out[from:to]...)
		}
		r := &p.repeats[i]
		dst = append(append(dst, p.out[from:r.start]...), '{')
		for i, s := range r.kept {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(append(dst, p.out[s.name:s.colon]...), ':')
			dst = p.appendUnited(dst, s.value, s.end)
		}
		dst = append(dst, '}')
		from = r.end
	}
}
