package calmcp

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
)

func TestMarshalEscapes(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"plain <b> & \"quotes\" \\ slash/", `"plain <b> & \"quotes\" \\ slash/"`},
		{"Grüße, 日本語, 😀", `"Grüße, 日本語, 😀"`},
		{"a\u202eb", `"a\u202eb"`},
		{"\u200b\u200d\ufeff\u00ad\u2060", `"\u200b\u200d\ufeff\u00ad\u2060"`},
		{"\u2066x\u2069\u061c\u200e", `"\u2066x\u2069\u061c\u200e"`},
		{"\x00\x1f\x7f\u0085\u009b", `"\u0000\u001f\u007f\u0085\u009b"`},
		{"line\nbreak\ttab", `"line\nbreak\ttab"`},
		{"\u2028\u2029", `"\u2028\u2029"`},
		{"\U000e0041\U000e0100", `"\udb40\udc41\udb40\udd00"`},
		{"❤\ufe0f", `"❤\ufe0f"`},
		{"\u115f\u3164\u034f\u180e", `"\u115f\u3164\u034f\u180e"`},
		{"\\u202e", `"\\u202e"`}, // a backslash that was there is none of ours
		{"", `""`},
	} {
		got, err := marshal(tt.in)
		if err != nil || string(got) != tt.want {
			t.Errorf("marshal(%q) = %s, %v, want %s", tt.in, got, err, tt.want)
		}
	}
}

// Every character comes back as it was, and none that is invisible is sent as it is.
func FuzzMarshal(f *testing.F) {
	f.Add("a\u202eb\x00 \U000e0041", "\u200b")
	f.Add("\\u202e\"", "}")
	f.Fuzz(func(t *testing.T, a, z string) {
		a, z = strings.ToValidUTF8(a, "?"), strings.ToValidUTF8(z, "?")
		data, err := marshal(map[string]any{"k" + z: []string{a, z}, "b": 1})
		if err != nil {
			t.Fatal(err)
		}
		text, err := indent(data)
		if err != nil {
			t.Fatal(err)
		}
		for _, out := range [][]byte{data, text} {
			var back map[string]any
			if err := json.Unmarshal(out, &back); err != nil {
				t.Fatalf("%q: %v", out, err)
			}
			if list, _ := back["k"+z].([]any); len(list) != 2 || list[0] != a || list[1] != z {
				t.Fatalf("%q came back as %v", []string{a, z}, back)
			}
			for _, r := range string(out) {
				if r != '\n' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)) {
					t.Fatalf("%U was sent as it is: %q", r, out)
				}
			}
		}
	})
}

func TestPlain(t *testing.T) {
	if got, want := plain("a\u202eb\n\x1b[31mü"), `a\u202eb\u000a\u001b[31mü`; got != want {
		t.Errorf("plain = %q, want %q", got, want)
	}
}
