package ical

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const layout = "20060102T150405"

// wallsOf runs a rule and returns its first n walls up to stop.
func wallsOf(t *testing.T, rule string, start, stop int64, n int) []string {
	t.Helper()
	r, err := ParseRule(rule)
	if err != nil {
		t.Fatal(err)
	}
	budget := 10_000_000
	if !r.Until.IsZero() {
		stop = min(stop, untilWall(r.Until))
	}
	it := newIterator(r, start, false, &budget)
	var got []string
	for len(got) < n {
		wall, ok := it.next(stop)
		if !ok {
			break
		}
		got = append(got, wallTime(wall).Format(layout))
	}
	return got
}

func parseWall(t *testing.T, s string) int64 {
	t.Helper()
	u, err := time.Parse(layout, s)
	if err != nil {
		t.Fatal(err)
	}
	return u.Unix()
}

// TestRulesAgainstDateutil compares 600 random rules with what python-dateutil
// makes of them; testdata/vectors.py wrote the file.
func TestRulesAgainstDateutil(t *testing.T) {
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Start, Rule, Stop string
		Want              []string
	}
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 500 {
		t.Fatalf("%d vectors", len(vectors))
	}
	for _, v := range vectors {
		start := parseWall(t, v.Start)
		got := wallsOf(t, v.Rule, start, parseWall(t, v.Stop), 40)
		if diff := cmp.Diff(v.Want, got); diff != "" {
			t.Errorf("%s from %s (-want +got):\n%s", v.Rule, v.Start, diff)
		}
		// Asked for from the middle, the rule goes on as it does from the start.
		if len(got) < 3 {
			continue
		}
		mid := len(got) / 2
		r, _ := ParseRule(v.Rule)
		budget := 10_000_000
		it := newIterator(r, start, false, &budget)
		it.seek(parseWall(t, got[mid]))
		for i := mid; i < len(got); {
			wall, ok := it.next(parseWall(t, got[len(got)-1]))
			if !ok {
				t.Errorf("%s from %s, seek %s: ends before %s", v.Rule, v.Start, got[mid], got[i])
				break
			}
			s := wallTime(wall).Format(layout)
			if s < got[mid] {
				continue
			}
			if s != got[i] {
				t.Errorf("%s from %s, seek %s: got %s, want %s", v.Rule, v.Start, got[mid], s, got[i])
				break
			}
			i++
		}
	}
}

// TestRulesOfRFC5545 runs every example of section 3.8.5.3 through Expand.
func TestRulesOfRFC5545(t *testing.T) {
	data, err := os.ReadFile("testdata/rfc5545.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for block := range strings.SplitSeq(string(data), "\n\n") {
		lines := strings.Split(strings.TrimSpace(block), "\n")
		if lines[0][0] == '#' {
			continue
		}
		n++
		t.Run(lines[0], func(t *testing.T) { checkRFC(t, lines[1], lines[2:]) })
	}
	if n != 42 {
		t.Errorf("%d examples, want 42", n)
	}
}

func checkRFC(t *testing.T, rule string, lists []string) {
	start, rest, _ := strings.Cut(rule, " ")
	rrule, ex, _ := strings.Cut(rest, " EXDATE=")
	ics := "BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1\nDTSTART;TZID=America/New_York:" + start + "\nRRULE:" + rrule + "\n"
	if ex != "" {
		ics += "EXDATE;TZID=America/New_York:" + ex + "\n"
	}
	ics += "END:VEVENT\nEND:VCALENDAR\n"
	want, more := rfcTimes(t, start, lists)
	res := Expand(parse(t, ics), time.Time{}, time.Time{}, nil, &ExpandOptions{MaxInstances: len(want) + 1})
	var got []string
	for _, in := range res.Instances {
		got = append(got, in.Start.Format(layout))
	}
	if more && len(got) > len(want) {
		got = got[:len(want)]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", rule, diff)
	}
}

func rfcTimes(t *testing.T, start string, lists []string) (want []string, more bool) {
	for _, l := range lists {
		day, list, _ := strings.Cut(l, ": ")
		day = strings.ReplaceAll(day, "-", "")
		for _, f := range strings.Fields(list) {
			from, to, isRange := strings.Cut(f, "-")
			switch {
			case f == "...":
				more = true
			case strings.Contains(f, ":"):
				want = append(want, day+"T"+strings.ReplaceAll(f, ":", "")+"00")
			case !isRange:
				to = from
				fallthrough
			default:
				a, err1 := strconv.Atoi(from)
				b, err2 := strconv.Atoi(to)
				if err1 != nil || err2 != nil {
					t.Fatalf("bad list %q", l)
				}
				for ; a <= b; a++ {
					d := strconv.Itoa(a)
					want = append(want, day+"00"[len(d):]+d+start[8:])
				}
			}
		}
	}
	return want, more
}

func parse(t testing.TB, ics string) *Calendar {
	t.Helper()
	cal, err := Parse([]byte(ics), nil)
	if err != nil {
		t.Fatalf("Parse(%q): %v", ics, err)
	}
	return cal
}

func TestParseRule(t *testing.T) {
	good := map[string]string{
		"FREQ=DAILY":                            "FREQ=DAILY",
		"interval=2;freq=weekly;byday=mo,fr":    "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,FR",
		"FREQ=MONTHLY;BYDAY=-1SU,+2MO":          "FREQ=MONTHLY;BYDAY=-1SU,2MO",
		"FREQ=YEARLY;UNTIL=20300101;WKST=SU":    "FREQ=YEARLY;UNTIL=20300101;WKST=SU",
		"FREQ=DAILY;COUNT=3;":                   "FREQ=DAILY;COUNT=3",
		"RSCALE=GREGORIAN;FREQ=DAILY;SKIP=OMIT": "FREQ=DAILY",
		"FREQ=DAILY;X-FOO=1":                    "FREQ=DAILY",
	}
	for in, want := range good {
		r, err := ParseRule(in)
		if err != nil || r.String() != want {
			t.Errorf("ParseRule(%q) = %v, %v, want %s", in, r, err, want)
		}
	}
	for _, in := range []string{"", "FREQ=SOMETIMES", "FREQ=DAILY;COUNT=0", "FREQ=DAILY;INTERVAL=0", "FREQ=DAILY;INTERVAL=-1",
		"COUNT=3", "FREQ=DAILY;BYMONTH=13", "FREQ=DAILY;BYMONTHDAY=0", "FREQ=DAILY;BYDAY=XX", "FREQ=DAILY;BYDAY=0MO",
		"FREQ=DAILY;UNTIL=soon", "FREQ=DAILY;FOO=1", "RSCALE=HEBREW;FREQ=YEARLY", "FREQ=DAILY;COUNT=99999999999"} {
		if r, err := ParseRule(in); err == nil {
			t.Errorf("ParseRule(%q) = %v, want an error", in, r)
		}
	}
}

// What the other implementation is not asked about. DTSTART counts as the first of
// COUNT even if the rule would not make it.
func TestRuleChoices(t *testing.T) {
	got := wallsOf(t, "FREQ=WEEKLY;BYDAY=FR;COUNT=3", parseWall(t, "20260310T090000"), maxWall, 9)
	want := []string{"20260310T090000", "20260313T090000", "20260320T090000"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got = wallsOf(t, "FREQ=WEEKLY;BYDAY=2TU", parseWall(t, "20260310T090000"), maxWall, 2)
	if want := []string{"20260310T090000", "20260317T090000"}; !cmp.Equal(got, want) {
		t.Errorf("a number in a week: got %v, want %v", got, want)
	}
	got = wallsOf(t, "FREQ=YEARLY;BYWEEKNO=20", parseWall(t, "20260513T090000"), maxWall, 3)
	if want := []string{"20260513T090000", "20270519T090000", "20280517T090000"}; !cmp.Equal(got, want) {
		t.Errorf("BYWEEKNO alone: got %v, want %v", got, want)
	}
}
