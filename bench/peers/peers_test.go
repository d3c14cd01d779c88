package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestMain makes the test binary the servers, too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-serve" {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestRun measures so little that it says nothing but that the program works, without
// workerd. The run itself fails where an increment is lost.
func TestRun(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("what processes use can't be read here")
	}
	parts := []string{"rates", "cold"}
	if testing.Short() {
		parts = parts[:1] // the other builds perdure
	}
	var out strings.Builder
	b := &bench{out: &out, rounds: 1, length: 30 * time.Millisecond, owners: []int{1, 3}, crowds: []int{4}, many: 64, woken: 32}
	for _, part := range parts {
		if err := b.run(t.Context(), part, ""); err != nil {
			t.Fatalf("%s: %v", part, err)
		}
	}
	for _, want := range []string{"| an increment, an object each, 3 ", "| an increment, one object, 4 ", "bbolt, Update: all of "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// TestHandlers asks every server of our own the same.
func TestHandlers(t *testing.T) {
	for _, kind := range []string{"objects", "bolt", "bolt-batch"} {
		h, end, err := handler(kind, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { end() })
		for _, c := range [][2]string{{"/get/a", "0"}, {"/inc/a", "1"}, {"/inc/a", "2"}, {"/get/a", "2"}, {"/get/b", "0"}} {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest("GET", c[0], nil))
			if got := rec.Body.String(); rec.Code != http.StatusOK || got != c[1] {
				t.Errorf("%s: GET %s = %d %q, want 200 %q", kind, c[0], rec.Code, got, c[1])
			}
		}
	}
	if _, _, err := handler("nothing", t.TempDir()); err == nil {
		t.Error("a server of an unknown kind is served")
	}
}

func TestLoad(t *testing.T) {
	var seen [3]atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/0", "/1", "/2":
			seen[r.URL.Path[1]-'0'].Add(1)
			fmt.Fprint(w, "ok")
		default:
			http.Error(w, "who are you", http.StatusTeapot)
		}
	}))
	defer srv.Close()
	addr := srv.Listener.Addr().String()
	path := func(client, _ int) []byte { return get(fmt.Sprint("/", client)) }

	r, err := load{addr: addr, clients: 3, turns: 7, request: path}.run(t.Context())
	if err != nil || r.answers != 21 || len(r.latencies) != 21 {
		t.Errorf("3 clients of 7 turns = %d answers, %d latencies, %v, want 21", r.answers, len(r.latencies), err)
	}
	for i := range seen {
		if n := seen[i].Load(); n != 7 {
			t.Errorf("client %d sent %d requests, want 7", i, n)
		}
	}
	r, err = load{addr: addr, clients: 2, length: 50 * time.Millisecond, request: path}.run(t.Context())
	if err != nil || r.answers < 2 || r.elapsed < 50*time.Millisecond {
		t.Errorf("50 ms of 2 clients = %d answers in %s, %v, want at least 2 and 50ms", r.answers, r.elapsed, err)
	}
	_, err = load{addr: addr, clients: 4, turns: 1, request: path}.run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "GET /3 HTTP/1.1: status 418: who are you") {
		t.Errorf("error of a refused request = %v, want its status and text", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = (load{addr: addr, clients: 1, turns: 1, request: path}).run(ctx); err == nil {
		t.Error("a load whose context has ended went well")
	}
}

func TestAnswers(t *testing.T) {
	const post10 = `{"a":"1"}` + "\n"
	for _, c := range []struct {
		name   string
		handle http.HandlerFunc
		want   string
		err    string
	}{
		{"with a length", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "ten bytes.") }, "ten bytes.", ""},
		{"none", func(w http.ResponseWriter, r *http.Request) {}, "", ""},
		{"in chunks", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "one,")
			w.(http.Flusher).Flush()
			fmt.Fprint(w, strings.Repeat("x", 5000))
		}, "one," + strings.Repeat("x", 5000), ""},
		{"of what was sent", func(w http.ResponseWriter, r *http.Request) {
			body := make([]byte, len(post10))
			n, _ := r.Body.Read(body)
			fmt.Fprintf(w, "%s %s", r.Method, body[:n])
		}, "POST " + post10, ""},
		{"that breaks off", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "10")
			fmt.Fprint(w, "five.")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, "", "unexpected EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := httptest.NewServer(c.handle)
			defer srv.Close()
			conn, err := dial(t.Context(), srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			for range 2 { // what is left of an answer would spoil the next
				got, err := conn.ask(post("/", post10))
				if c.err != "" {
					if err == nil || !strings.Contains(err.Error(), c.err) {
						t.Errorf("error = %v, want %s", err, c.err)
					}
					return
				}
				if err != nil || string(got) != c.want {
					t.Fatalf("ask = %.40q, %v, want %.40q", got, err, c.want)
				}
			}
		})
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		list []int
		want int
	}{{[]int{5}, 5}, {[]int{9, 1, 2}, 2}, {[]int{8, 1, 2, 4}, 2}} {
		if got := median(c.list, cmp.Compare[int]); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.list, got, c.want)
		}
	}
}

func TestChoose(t *testing.T) {
	var turns []turn
	for _, n := range []int{20, 10, 40, 30, 50} {
		turns = append(turns, turn{result: result{answers: n, elapsed: time.Second}})
	}
	if got := (&bench{}).choose(turns).answers; got != 30 {
		t.Errorf("the median has %d answers, want 30", got)
	}
	if got := (&bench{best: true}).choose(turns).answers; got != 50 {
		t.Errorf("the best has %d answers, want 50", got)
	}
}

func TestResult(t *testing.T) {
	r := result{answers: 100, elapsed: 2 * time.Second}
	for i := range 100 {
		r.latencies = append(r.latencies, time.Duration(i+1))
	}
	if r.rate() != 50 || r.at(0.5) != 51 || r.at(0.99) != 100 || r.at(1) != 100 {
		t.Errorf("rate %v, at 50 %%: %d, at 99 %%: %d, at 100 %%: %d; want 50, 51, 100, 100", r.rate(), r.at(0.5), r.at(0.99), r.at(1))
	}
	if got := (result{}).at(0.5); got != 0 {
		t.Errorf("latency of no answers = %v, want 0", got)
	}
	u := turn{result: r, cpu: time.Second}
	if got := u.perAnswer(); got != 10*time.Millisecond {
		t.Errorf("perAnswer = %v, want 10ms", got)
	}
}

func TestFigures(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{count(0.4), "0"}, {count(999.4), "999"}, {count(999.6), "1,000"}, {count(4076), "4,080"},
		{count(45_049), "45,000"}, {count(99_960), "100,000"}, {count(1_234_567), "1,230,000"},
		{milliseconds(80 * time.Microsecond), "0.08"}, {milliseconds(1250 * time.Microsecond), "1.2"}, {milliseconds(33400 * time.Microsecond), "33"},
		{megabytes(240_000), "0.2 MB"}, {megabytes(504_400_000), "504 MB"},
	} {
		if c.got != c.want {
			t.Errorf("figure %q, want %q", c.got, c.want)
		}
	}
}

func TestCPUOf(t *testing.T) {
	got, err := cpuOf("123 (a (b) c) S 1 1 1 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 7 0 100 1 1")
	if err != nil || got != 3*time.Second {
		t.Errorf("cpuOf = %v, %v, want 3s", got, err)
	}
	if _, err := cpuOf("123 (a) S 1"); err == nil {
		t.Error("a line that is too short is read")
	}
}

func TestSyncsIn(t *testing.T) {
	const head = "% time     seconds  usecs/call     calls    errors syscall\n------ ----------- ----------- --------- --------- ----------------\n"
	for _, c := range []struct {
		summary string
		n       int
		ok      bool
	}{
		{head + " 99.10    0.400100         199      2006           fdatasync\n  0.90    0.000100          20         5           fsync\n------ ---\n100.00    0.400200         198      2011           total\n", 2011, true},
		{head + "100.00    0.400200         198      2011         1 total\n", 2011, true},
		{head, 0, false},
		{"", 0, false},
	} {
		if n, ok := syncsIn(c.summary); n != c.n || ok != c.ok {
			t.Errorf("syncsIn(%q) = %d, %v, want %d, %v", c.summary, n, ok, c.n, c.ok)
		}
	}
}
