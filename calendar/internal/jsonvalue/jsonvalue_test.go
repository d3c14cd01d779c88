package jsonvalue

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"space", " \t\r\n{ \"a\" : [ 1 , 2 ] , \"b\" : { } } \n", `{"a":[1,2],"b":{}}`},
		{"numbers keep their text", `[1.0,-0,1e400,1E+2,12345678901234567890,0.10,1e-400]`, `[1.0,-0,1e400,1E+2,12345678901234567890,0.10,1e-400]`},
		{"order of integer-like names", `{"b":1,"2":2,"a":3,"1":4}`, `{"b":1,"2":2,"a":3,"1":4}`},
		{"strings keep their text", `"\u0041\/<>&\ud800\u2028"`, `"\u0041\/<>&\ud800\u2028"`},
		{"raw line separators", "\"\u2028\u2029\"", "\"\u2028\u2029\""},
		{"__proto__", `{"__proto__":{"a":1},"constructor":2}`, `{"__proto__":{"a":1},"constructor":2}`},
		{"words", `[true,false,null]`, `[true,false,null]`},
		{"duplicate", `{"a":1,"b":2,"a":3}`, `{"a":3,"b":2}`},
		{"duplicate by escape", `{"\u0061":1,"b":2,"a":3}`, `{"\u0061":3,"b":2}`},
		{"duplicate by pair", `{"😀":1,"\ud83d\ude00":2}`, `{"😀":2}`},
		{"lone surrogates differ", `{"\ud800":1,"\ud801":2,"\udc00":3}`, `{"\ud800":1,"\ud801":2,"\udc00":3}`},
		{"duplicate within", `[{"x":{"a":1,"a":[{"q":1,"q":2}]}},{"a":0}]`, `[{"x":{"a":[{"q":2}]}},{"a":0}]`},
		{"duplicate in a large object", `{"1":1,"2":2,"3":3,"4":4,"5":5,"6":6,"7":7,"8":8,"9":9,"1":{}}`, `{"1":{},"2":2,"3":3,"4":4,"5":5,"6":6,"7":7,"8":8,"9":9}`},
		{"duplicates in what is dropped", `{"a":{"b":1,"b":2},"c":{"d":[{"e":1,"e":2}]},"a":{"f":3,"f":[4]},"c":5}`, `{"a":{"f":[4]},"c":5}`},
		{"duplicates side by side", `[{"a":1,"a":2},7,{"b":3,"b":4,"c":{"d":5,"d":6}},{}]`, `[{"a":2},7,{"b":4,"c":{"d":6}},{}]`},
		{"duplicates that change places", `{"a":1,"b":{"x":1,"x":2},"c":3,"b":{"y":{"z":1,"z":{}}},"a":[{"q":1,"q":2}]}`, `{"a":[{"q":2}],"b":{"y":{"z":{}}},"c":3}`},
		{"empty name", `{"":1," ":2}`, `{"":1," ":2}`},
		{"byte order mark", "\ufeff{}", `{}`},
		{"not UTF-8", "\"a\xffb\"", "\"a\ufffdb\""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse([]byte(tt.in))
			if err != nil {
				t.Fatalf("Parse(%q): %v", tt.in, err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("Parse(%q) (-want +got):\n%s", tt.in, diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct {
		in  string
		end bool
	}{
		{"", true}, {"  ", true}, {"{", true}, {"[1,", true}, {`"abc`, true}, {`{"a":`, true}, {"tru", true}, {`"\u12`, true}, {"-", true}, {"1.", true}, {"1e", true},
		{"{}x", false}, {"{} {}", false}, {"[1,]", false}, {`{"a":1,}`, false}, {"{a:1}", false}, {`{"a" 1}`, false}, {"'a'", false},
		{"01", false}, {"+1", false}, {".5", false}, {"0x10", false}, {"NaN", false}, {"Infinity", false}, {"nul1", false},
		{`"\x"`, false}, {`"\u12g4"`, false}, {"\"a\nb\"", false}, {"\"\x00\"", false}, {"\x00", false}, {"{}\x00", false}, {"[1 2]", false},
		{"\ufeff\ufeff{}", false}, {"\v{}", false}, {"undefined", false}, {"// c\n{}", false}, {`{1:2}`, false}, {"]", false},
	} {
		_, err := Parse([]byte(tt.in))
		var syntax *SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("Parse(%q) = %v, want a SyntaxError", tt.in, err)
			continue
		}
		if syntax.End != tt.end {
			t.Errorf("Parse(%q): End = %v, want %v", tt.in, syntax.End, tt.end)
		}
		if syntax.Error() == "" {
			t.Errorf("Parse(%q): error without text", tt.in)
		}
	}
}

func TestParseDepth(t *testing.T) {
	nested := func(n int) []byte {
		return []byte(strings.Repeat(`[{"a":`, n/2) + "1" + strings.Repeat("}]", n/2))
	}
	if _, err := Parse(nested(MaxDepth)); err != nil {
		t.Errorf("Parse of depth %d: %v", MaxDepth, err)
	}
	for _, n := range []int{MaxDepth + 2, 2000, 1_000_000} {
		if _, err := Parse(nested(n)); err != ErrTooDeep {
			t.Errorf("Parse of depth %d = %v, want ErrTooDeep", n, err)
		}
	}
}

// What Parse copies is a few times the text, however deep duplicates are.
func TestParseOfNestedDuplicatesIsLinear(t *testing.T) {
	const depth = MaxDepth - 2
	rest := `"` + strings.Repeat("x", 1<<20) + `"`
	text := []byte(strings.Repeat(`{"a":0,"a":`, depth) + rest + strings.Repeat("}", depth))
	want := strings.Repeat(`{"a":`, depth) + rest + strings.Repeat("}", depth)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	v, err := Parse(text)
	runtime.ReadMemStats(&after)
	if err != nil || string(v) != want {
		t.Fatalf("Parse = %.100q... of %d bytes, %v, want %d bytes", v, len(v), err, len(want))
	}
	if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(10*len(text)); got > limit {
		t.Errorf("Parse allocated %d bytes for a text of %d, want at most %d", got, len(text), limit)
	}
}

func TestParseLeavesItsInput(t *testing.T) {
	in := []byte(` {"a":1,"a":2}`)
	before := bytes.Clone(in)
	v, err := Parse(in)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(in, before) {
		t.Errorf("Parse changed its input to %q", in)
	}
	clear(in)
	if string(v) != `{"a":2}` {
		t.Errorf("the value changed with the input: %q", v)
	}
}

func TestKindAndText(t *testing.T) {
	for in, want := range map[string]Kind{
		"{}": Object, "[]": Array, `""`: String, "0": Number, "-1": Number, "9": Number, "true": True, "false": False, "null": Null, "": 0,
	} {
		if got := Value(in).Kind(); got != want {
			t.Errorf("Kind(%q) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		`""`: "", `"a"`: "a", `"\u0061\n\/\""`: "a\n/\"", `"\ud83d\ude00"`: "😀", `"\ud83dx"`: "\xed\xa0\xbdx", `"\ud83d\u0041"`: "\xed\xa0\xbdA", `"ü"`: "ü",
	} {
		if got, ok := Value(in).Text(); got != want || !ok {
			t.Errorf("Text(%s) = %q, %v, want %q", in, got, ok, want)
		}
	}
	if got, ok := Value("5").Text(); ok {
		t.Errorf("Text(5) = %q, want none", got)
	}
}

func TestMembers(t *testing.T) {
	v, err := Parse([]byte(`{"a":"x}],\"","b":[{"c":[]},1],"c":-1.5,"d":{"e":"\\"},"f":null}`))
	if err != nil {
		t.Fatal(err)
	}
	var got [][2]string
	for _, m := range v.Members() {
		got = append(got, [2]string{string(m.Name), string(m.Value)})
	}
	want := [][2]string{{`"a"`, `"x}],\""`}, {`"b"`, `[{"c":[]},1]`}, {`"c"`, `-1.5`}, {`"d"`, `{"e":"\\"}`}, {`"f"`, `null`}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Members(%s) (-want +got):\n%s", v, diff)
	}
	for _, in := range []string{"{}", "[1]", "5"} {
		if got := Value(in).Members(); len(got) != 0 {
			t.Errorf("Members(%s) = %v, want none", in, got)
		}
	}
}

func TestMerge(t *testing.T) {
	for _, tt := range []struct{ a, b, want string }{
		{`{}`, `{}`, `{}`},
		{`{"a":1,"b":2}`, `{}`, `{"a":1,"b":2}`},
		{`{}`, `{"a":1}`, `{"a":1}`},
		{`{"a":1,"b":2}`, `{"c":3,"a":{"x":1.0}}`, `{"a":{"x":1.0},"b":2,"c":3}`},
		{`{"a":{"x":1}}`, `{"\u0061":null}`, `{"a":null}`},
	} {
		if got := Merge(Value(tt.a), Value(tt.b)); string(got) != tt.want {
			t.Errorf("Merge(%s, %s) = %s, want %s", tt.a, tt.b, got, tt.want)
		}
	}
}

// FuzzParse holds Parse against encoding/json: the same texts are valid, and the
// same tokens come out in the same order, numbers as written.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"a":1,"b":[true,null,"x"],"a":1.50}`, `[1e400,-0,0.0]`, `"\ud800"`, "\ufeff{}", `{"":{"":{"":1,"":2}}}`, "[\"\xff\"]", `"\u00e9é"`,
		`{"1":1,"2":2,"3":3,"4":4,"5":5,"6":6,"7":7,"8":8,"9":9,"1":{}}`, "{", "01", "tru",
		`{"a":{"b":1,"b":2},"c":{"d":[{"e":1,"e":2}]},"a":{"f":3,"f":[4]},"c":5}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		v, err := Parse(in)
		if errors.Is(err, ErrTooDeep) {
			return
		}
		body := bytes.TrimPrefix(in, []byte("\ufeff"))
		if valid := json.Valid(body); valid != (err == nil) {
			t.Fatalf("Parse(%q): error %v, but json.Valid = %v", in, err, valid)
		}
		if err != nil {
			return
		}
		again, err := Parse(v)
		if err != nil || !bytes.Equal(again, v) {
			t.Fatalf("Parse(%q) = %q, and of that %q, %v", in, v, again, err)
		}
		if bytes.Contains(bytes.ToLower(in), []byte(`\ud`)) {
			return // encoding/json makes one character of all lone surrogates
		}
		if want, got := tree(t, body), tree(t, v); !reflect.DeepEqual(got, want) {
			t.Errorf("Parse(%q) = %q, another value or another order", in, v)
		}
	})
}

// tree reads a value with encoding/json into something that keeps order and
// number text: members as a slice of pairs, the last value in the first place.
func tree(t *testing.T, text []byte) any {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return subtree(t, d)
}

func subtree(t *testing.T, d *json.Decoder) any {
	token := func() json.Token {
		tok, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		return tok
	}
	switch tok := token(); tok {
	case json.Delim('['):
		list := []any{}
		for d.More() {
			list = append(list, subtree(t, d))
		}
		token()
		return list
	case json.Delim('{'):
		type pair struct{ Name, Value any }
		pairs, index := []*pair{}, map[any]*pair{}
		for d.More() {
			name := token()
			value := subtree(t, d)
			if p := index[name]; p != nil {
				p.Value = value
				continue
			}
			index[name] = &pair{name, value}
			pairs = append(pairs, index[name])
		}
		token()
		return pairs
	default:
		return tok
	}
}
