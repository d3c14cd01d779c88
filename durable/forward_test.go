package durable_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/durable"
)

// Typed is an object with methods of every shape.
type Typed struct{ st *durable.State }

type pair struct {
	A int
	B []byte
	T time.Time
}

func (*Typed) Swap(_ context.Context, p pair) (pair, error)  { return pair{-p.A, p.B, p.T}, nil }
func (*Typed) Say(context.Context) (string, error)           { return "hello", nil }
func (*Typed) Any(_ context.Context, v any) (any, error)     { return v, nil }
func (*Typed) Nothing(context.Context) error                 { return nil }
func (*Typed) Fail(_ context.Context, text string) error     { return fmt.Errorf("%s: %w", text, errTyped) }
func (*Typed) Long(_ context.Context, n int) (string, error) { return strings.Repeat("x", n), nil }
func (*Typed) Bad(context.Context) (map[string]any, error) {
	return map[string]any{"x": make(chan int)}, nil
}
func (t *Typed) LongKey(ctx context.Context) error {
	return fmt.Errorf("typed: %w", t.st.Storage().Put(ctx, strings.Repeat("k", 3000), 1))
}
func (*Typed) Panic(context.Context) error { panic("no") }
func (*Typed) Now(ctx context.Context) (time.Duration, error) {
	d, _ := ctx.Deadline()
	return time.Until(d), nil
}
func (*Typed) Trace(ctx context.Context) (string, error) {
	return durable.TraceFromContext(ctx).Parent, nil
}
func (t *Typed) Name(context.Context) ([]byte, error) {
	name, _ := t.st.Name()
	return []byte(name), nil
}

var errTyped = errors.New("typed: it failed")

func typedClass() durable.Class {
	return durable.NewClass("Typed", func(_ context.Context, st *durable.State) (*Typed, error) { return &Typed{st}, nil },
		&durable.ClassOptions{Errors: []error{errTyped}, MethodNames: map[string]string{"Say": "Speak"}})
}

// A call is the same on the object's own node and on another.
func TestCallsOfAnotherNodesObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, nil, &durable.Options{Classes: []durable.Class{typedClass()}, Limits: durable.Limits{ArgumentBytes: 1000}}, "a", "b")
		w.giveAll("a")
		const name = "n\x00\xff"
		for from := range w.nodes {
			s := w.nodes[from].Namespace("Typed").Named(name)
			ctx := t.Context()
			p := pair{5, []byte{0, 255}, time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600))}
			got, err := durable.Call(ctx, s, (*Typed).Swap, p)
			p.A = -5
			if diff := cmp.Diff(p, got); diff != "" || err != nil {
				t.Errorf("Swap from %s: %v, (-want +got)\n%s", from, err, diff)
			}
			if got, err := durable.Call0(ctx, s, (*Typed).Say); got != "hello" || err != nil {
				t.Errorf("Say from %s = %q, %v", from, got, err)
			}
			if got, err := durable.Call(ctx, s, (*Typed).Any, any(map[string]any{"n": 1})); !cmp.Equal(got, any(map[string]any{"n": int64(1)})) || err != nil {
				t.Errorf("Any from %s = %v, %v", from, got, err)
			}
			if got, err := durable.Call0(ctx, s, (*Typed).Name); string(got) != name || err != nil {
				t.Errorf("Name from %s = %q, %v", from, got, err)
			}
			if err := durable.Exec0(ctx, s, (*Typed).Nothing); err != nil {
				t.Errorf("Nothing from %s: %v", from, err)
			}
			err = durable.Exec(ctx, s, (*Typed).Fail, "oh")
			if e := factsOf(t, err); !e.Remote || e.Retryable || e.Text != "oh: typed: it failed" || !errors.Is(err, errTyped) {
				t.Errorf("Fail from %s: %+v", from, e)
			}
			_, err = durable.Call(ctx, s, (*Typed).Long, 2000)
			var lim *durable.LimitError
			if e := factsOf(t, err); !e.Remote || !errors.Is(err, durable.ErrArgumentTooLarge) || !errors.As(err, &lim) || lim.Limit != 1000 || lim.Size < 2000 {
				t.Errorf("Long from %s: %+v, limit %+v", from, e, lim)
			}
			err = durable.Exec0(ctx, s, (*Typed).LongKey)
			lim = nil
			if e := factsOf(t, err); !e.Remote || e.Text != "typed: durable: key too large: 3000, limit 2048" || !errors.Is(err, durable.ErrKeyTooLarge) ||
				!errors.As(err, &lim) || *lim != (durable.LimitError{Err: durable.ErrKeyTooLarge, Limit: 2048, Size: 3000}) {
				t.Errorf("LongKey from %s: %+v, limit %+v", from, e, lim)
			}
			_, err = durable.Call0(ctx, s, (*Typed).Bad)
			wantErr(t, "Bad from "+from, err, durable.ErrEncode)
			_, err = durable.Call(ctx, s, (*Typed).Any, any(strings.Repeat("x", 2000)))
			wantErr(t, "Any too long from "+from, err, durable.ErrArgumentTooLarge)
			err = durable.Exec0(ctx, s, (*Typed).Panic)
			if e := factsOf(t, err); !e.Reset || !errors.Is(err, durable.ErrPanic) {
				t.Errorf("Panic from %s: %+v", from, e)
			}
			limited, cancel := context.WithTimeout(durable.ContextWithTrace(ctx, durable.Trace{Parent: "00-aa-bb-01"}), time.Minute)
			if got, err := durable.Call0(limited, s, (*Typed).Now); got != time.Minute || err != nil {
				t.Errorf("deadline from %s in %v, %v", from, got, err)
			}
			if got, err := durable.Call0(limited, s, (*Typed).Trace); got != "00-aa-bb-01" || err != nil {
				t.Errorf("trace from %s = %q, %v", from, got, err)
			}
			cancel()
		}
	})
}

// echo tells all that its handler sees of a request.
func echo(w http.ResponseWriter, r *http.Request, o *Obj) {
	body, err := io.ReadAll(r.Body)
	u := *r.URL
	h := r.Header.Clone()
	h.Del("Work")
	w.Header()["X-Odd"] = []string{"\xe4", ""}
	w.Header().Set("Date", "yesterday")
	w.Header().Set("Connection", "keep")
	w.WriteHeader(http.StatusTeapot)
	fmt.Fprintf(w, "%s %#v %s %s %v %d %q %v", r.Method, u, r.Host, r.RequestURI, h, r.ContentLength, body, err)
}

func TestRequestsToAnotherNodesObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, nil, &durable.Options{Limits: durable.Limits{BodyBytes: 100}}, "a", "b")
		w.giveAll("a")
		odd := &url.URL{Scheme: "http", Host: "do", Path: "//a/ü/../b", RawPath: "//a/%c3%bc/%2e%2e/b", RawQuery: "x=%zz", Fragment: "f"}
		for _, c := range []struct {
			method string
			url    *url.URL
			body   string
			header http.Header
		}{
			{"GET", &url.URL{Path: "/"}, "", nil},
			{"PROPFIND", odd, "<x/>", http.Header{"Depth": {"1"}, "Perdure-Error": {"no"}, "Connection": {"close"}, "X-Odd": {"\xff", ""}}},
			{"HEAD", odd, "", nil},
			{"POST", odd, strings.Repeat("x", 101), nil},
		} {
			one := func(from string) (rec, rt string) {
				r := request(t, c.method, nil, echo)
				for k, v := range c.header {
					r.Header[k] = v
				}
				r.URL, r.RequestURI = c.url, ""
				if c.body != "" {
					r.Body, r.ContentLength = io.NopCloser(strings.NewReader(c.body)), int64(len(c.body))
				}
				again := r.Clone(r.Context())
				again.Body = io.NopCloser(strings.NewReader(c.body))
				s := w.nodes[from].obj("x")
				a := serve(s, r)
				rec = fmt.Sprint(a.Code, a.Header(), a.Body.String())
				resp, err := s.RoundTrip(again)
				if err != nil {
					return rec, fmt.Sprint(err, errors.Is(err, durable.ErrBodyTooLarge))
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				return rec, fmt.Sprint(resp.Status, resp.Header, resp.ContentLength, string(body), err)
			}
			a, art := one("a")
			b, brt := one("b")
			if a != b || art != brt {
				t.Errorf("%s %v:\nhere  %s\nthere %s\nRoundTrip here  %s\nthere %s", c.method, c.url, a, b, art, brt)
			}
			if !strings.Contains(a, "418") && !strings.Contains(a, "413") {
				t.Errorf("%s = %s", c.method, a)
			}
		}
	})
}

// Each piece of a stream passes at once, and a client that leaves ends it there.
func TestStreamsOfAnotherNodesObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a", "b")
		w.giveAll("a")
		next := make(chan string)
		ended := make(chan error, 1)
		r := request(t, "GET", nil, func(w http.ResponseWriter, r *http.Request, o *Obj) {
			ended <- o.st.Await(r.Context(), func(ctx context.Context) error {
				for {
					select {
					case s := <-next:
						io.WriteString(w, s)
						if err := http.NewResponseController(w).Flush(); err != nil {
							return err
						}
					case <-ctx.Done():
						return ctx.Err()
					}
				}
			})
		})
		got := make(chan *http.Response)
		go func() {
			resp, err := w.nodes["b"].obj("x").RoundTrip(r)
			if err != nil {
				t.Error(err)
			}
			got <- resp
		}()
		next <- "one"
		resp := <-got
		buf := make([]byte, 10)
		for _, want := range []string{"one", "two"} {
			if want == "two" {
				next <- "two"
			}
			if n, err := resp.Body.Read(buf); string(buf[:n]) != want || err != nil {
				t.Fatalf("Read = %q, %v, want %q", buf[:n], err, want)
			}
		}
		resp.Body.Close()
		wantErr(t, "handler of a client that left", <-ended, context.Canceled)
	})
}

// A stream that fails after its beginning does not look like a whole one, and says what happened.
func TestStreamThatFailsHalfWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a", "b")
		w.giveAll("a")
		for _, from := range []string{"a", "b"} {
			resp, err := w.nodes[from].obj("x").RoundTrip(request(t, "GET", nil, func(w http.ResponseWriter, r *http.Request, o *Obj) {
				io.WriteString(w, "half")
				http.NewResponseController(w).Flush()
				panic("the other half")
			}))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if string(body) != "half" || !errors.Is(err, durable.ErrPanic) || !factsOf(t, err).Reset {
				t.Errorf("from %s: %q, %v, want half and ErrPanic", from, body, err)
			}
		}
	})
}

// A streamed body is sent again after a refusal as long as none of it was read.
func TestStreamedBodyToAnotherNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, &hooks{opts: durable.ClassOptions{StreamBody: true}}, nil, "a", "b", "c")
		w.giveAll("a")
		shard := shardOfStub(w.nodes["a"].obj("x"))
		w.nodes["c"].believe(shard)
		w.give(shard, "b")
		var last atomic.Value
		r := request(t, "POST", strings.NewReader("body"), func(w http.ResponseWriter, r *http.Request, o *Obj) {
			b, err := io.ReadAll(r.Body)
			last.Store(fmt.Sprintf("%s %v", b, err))
		})
		r.ContentLength = -1
		if rec := serve(w.nodes["c"].obj("x"), r); rec.Code != 200 || last.Load() != "body <nil>" {
			t.Errorf("answer %d, the object read %v", rec.Code, last.Load())
		}
		if n := len(w.nodes["c"].missed); n != 1 {
			t.Errorf("%d refusals, want 1", n)
		}
	})
}

// A body of which something is gone is not sent a second time.
func TestStreamedBodyIsNotSentTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, &hooks{opts: durable.ClassOptions{StreamBody: true}}, nil, "a", "b")
		w.giveAll("a")
		a := w.nodes["a"]
		a.reads = true
		r := request(t, "POST", strings.NewReader("body"), func(http.ResponseWriter, *http.Request, *Obj) { t.Error("it arrived") })
		r.ContentLength = -1
		_, err := w.nodes["b"].obj("x").RoundTrip(r)
		if e := factsOf(t, err); !e.Retryable || !errors.Is(err, durable.ErrUnreachable) {
			t.Errorf("error %+v, want ErrUnreachable, retryable: it did not run", e)
		}
		if len(w.nodes["b"].missed) != 0 {
			t.Error("it was sent again")
		}
	})
}

// A node that is asked for what it does not hold says who does, and the event goes there.
func TestRefusalCorrectsTheMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a", "b", "c")
		w.giveAll("a")
		shard := shardOfStub(w.nodes["a"].obj("x"))
		w.nodes["c"].believe(shard)
		e := w.give(shard, "b")
		must(t, t.Context(), w.nodes["c"].obj("x"), func(ctx context.Context, o *Obj) error { return o.inc(ctx, "n") })
		var no *durable.NotOwnerError
		if m := w.nodes["c"].missed; len(m) != 1 || !errors.As(m[0], &no) || no.Owner != "b" || no.Epoch != e.place.Epoch || no.ID != w.nodes["a"].obj("x").ID() {
			t.Errorf("refusals %v, want one that names b and epoch %d", m, e.place.Epoch)
		}
	})
}

// Refusals and errors are no results, whose limit may be smaller.
func TestErrorsUnderASmallLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 10
		w := newTown(t, nil, &durable.Options{Classes: []durable.Class{typedClass()}, Limits: durable.Limits{ArgumentBytes: limit}}, "a", "b", "c")
		w.giveAll("a")
		s := w.nodes["c"].Namespace("Typed").Named("x")
		w.nodes["c"].believe(shardOfStub(s))
		w.give(shardOfStub(s), "b")
		if got, err := durable.Call0(t.Context(), s, (*Typed).Say); got != "hello" || err != nil || len(w.nodes["c"].missed) != 1 {
			t.Errorf("a call that was refused once: %q, %v, %v", got, err, w.nodes["c"].missed)
		}
		err := durable.Exec(t.Context(), s, (*Typed).Fail, "oh")
		if e := factsOf(t, err); !e.Remote || e.Text != "oh: typed: it failed" || !errors.Is(err, errTyped) {
			t.Errorf("Fail: %+v", e)
		}
	})
}

// A shard that comes to the node that was about to pass an event on.
func TestRefusalLeadsBackHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a", "b")
		w.giveAll("a")
		b := w.nodes["b"]
		for _, way := range []string{"ServeHTTP", "RoundTrip", "Call"} {
			s := b.obj(way)
			w.give(shardOfStub(s), "a")
			b.believe(shardOfStub(s))
			w.give(shardOfStub(s), "b")
			r := request(t, "POST", strings.NewReader("body"), func(w http.ResponseWriter, r *http.Request, o *Obj) { io.Copy(w, r.Body) })
			var got string
			switch way {
			case "ServeHTTP":
				got = serve(s, r).Body.String()
			case "RoundTrip":
				resp, err := s.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				data, _ := io.ReadAll(resp.Body)
				got = string(data)
			case "Call":
				must(t, t.Context(), s, func(context.Context, *Obj) error { got = "body"; return nil })
			}
			if got != "body" {
				t.Errorf("%s answers %q, want the body", way, got)
			}
		}
		if len(b.missed) != 3 {
			t.Errorf("%d refusals, want 3", len(b.missed))
		}
	})
}

// Nobody passes on what another node passed on: two nodes that believe each other to be the owner end at once.
func TestNothingIsPassedOnTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a", "b", "c")
		s := w.nodes["c"].obj("x")
		shard := shardOfStub(s)
		w.give(shard, "a")
		w.nodes["b"].believe(shard)
		w.give(shard, "b")
		w.nodes["a"].believe(shard)
		w.nodes["c"].believe(shard)
		w.give(shard, "c")
		must(t, t.Context(), s, func(ctx context.Context, o *Obj) error { return nil })
		if a, b := len(w.nodes["a"].missed), len(w.nodes["b"].missed); a+b != 0 {
			t.Errorf("a was refused %d times and b %d: they passed on", a, b)
		}
	})
}

// What did not get to a node is sent again until it does; what may have got there is not.
func TestNodeThatCannotBeReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a", "b")
		w.giveAll("a")
		a, b := w.nodes["a"], w.nodes["b"]
		s := b.obj("x")
		inc := func(ctx context.Context, o *Obj) error { return o.inc(ctx, "n") }
		setDown := func(err error) {
			a.mu.Lock()
			a.down = err
			a.mu.Unlock()
		}

		setDown(fmt.Errorf("dial: %w", durable.ErrNotDelivered))
		start := time.Now()
		done := async(func() error { return do(t.Context(), s, inc) })
		sleep(3 * time.Second)
		setDown(nil)
		if err := <-done; err != nil {
			t.Errorf("event whose node came back: %v", err)
		}

		setDown(fmt.Errorf("dial: %w", durable.ErrNotDelivered))
		start = time.Now()
		err := do(t.Context(), s, inc)
		if e := factsOf(t, err); !e.Retryable || !errors.Is(err, durable.ErrUnreachable) {
			t.Errorf("node that stays away: %+v, want retryable and ErrUnreachable", e)
		}
		if d := time.Since(start); d < 20*time.Second || d > 40*time.Second {
			t.Errorf("given up after %v, want about 30 s", d)
		}
		if rec := serve(s, request(t, "POST", nil, echo)); rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") == "" {
			t.Errorf("status %d, want 503 with Retry-After", rec.Code)
		}

		setDown(io.ErrUnexpectedEOF)
		err = do(t.Context(), s, inc)
		if e := factsOf(t, err); e.Retryable || !errors.Is(err, durable.ErrUnreachable) {
			t.Errorf("connection that broke: %+v, want ErrUnreachable, not retryable", e)
		}
		if rec := serve(s, request(t, "POST", nil, echo)); rec.Code != http.StatusBadGateway {
			t.Errorf("status %d, want 502", rec.Code)
		}
	})
}

// A caller that leaves cancels its event on the other node; one that has not started is not run.
func TestCancellationReachesTheOtherNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a", "b")
		w.giveAll("a")
		hold := make(chan struct{})
		first := async(func() error {
			return do(t.Context(), w.nodes["a"].obj("x"), func(ctx context.Context, o *Obj) error { <-hold; return nil })
		})
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		ran := false
		second := async(func() error {
			return do(ctx, w.nodes["b"].obj("x"), func(context.Context, *Obj) error { ran = true; return nil })
		})
		synctest.Wait()
		cancel()
		wantErr(t, "caller that left", <-second, context.Canceled)
		synctest.Wait()
		close(hold)
		if err := <-first; err != nil || ran {
			t.Errorf("first: %v; the event whose caller left ran: %v", err, ran)
		}

		ctx, cancel = context.WithCancel(t.Context())
		seen := make(chan error, 1)
		third := async(func() error {
			return do(ctx, w.nodes["b"].obj("x"), func(ctx context.Context, o *Obj) error {
				return o.st.Await(ctx, func(ctx context.Context) error {
					<-ctx.Done()
					seen <- ctx.Err()
					return nil
				})
			})
		})
		synctest.Wait()
		cancel()
		wantErr(t, "inside the event", <-seen, context.Canceled)
		wantErr(t, "its caller", <-third, context.Canceled)
	})
}

func TestChainsAcrossNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, nil, &durable.Options{Limits: durable.Limits{CallDepth: 6}}, "a", "b")
		x, y := w.twoObjects()
		ctx := t.Context()

		// x (on a) calls y (on b), which calls x, while x's gate is open.
		var got int
		must(t, ctx, w.nodes["b"].obj(x), func(ctx context.Context, o *Obj) error {
			if err := o.put(ctx, "n", 7); err != nil {
				return err
			}
			return do(ctx, o.st.Namespace("Obj").Named(y), func(ctx context.Context, o *Obj) error {
				return do(ctx, o.st.Namespace("Obj").Named(x), func(ctx context.Context, o *Obj) error {
					got = o.get(ctx, "n")
					return nil
				})
			})
		})
		if got != 7 {
			t.Errorf("what came back to x read %d, want 7", got)
		}

		// The same while x keeps its gate shut would wait for ever.
		start := time.Now()
		err := do(ctx, w.nodes["a"].obj(x), func(ctx context.Context, o *Obj) error {
			return o.st.BlockConcurrencyWhile(ctx, func(ctx context.Context) error {
				return do(ctx, o.st.Namespace("Obj").Named(y), func(ctx context.Context, o *Obj) error {
					return do(ctx, o.st.Namespace("Obj").Named(x), func(context.Context, *Obj) error { return nil })
				})
			})
		})
		wantErr(t, "chain back to a shut gate", err, durable.ErrDeadlock)
		if want := fmt.Sprintf("Obj %q -> Obj %q -> Obj %q", x, y, x); !strings.Contains(err.Error(), want) || time.Since(start) > 0 {
			t.Errorf("error %q after %v, want at once and %q in it", err, time.Since(start), want)
		}

		// Depth counts across nodes.
		var dive func(n int) work
		dive = func(n int) work {
			return func(ctx context.Context, o *Obj) error {
				next := x
				if name, _ := o.st.Name(); name == x {
					next = y
				}
				return do(ctx, o.st.Namespace("Obj").Named(next), dive(n+1))
			}
		}
		wantErr(t, "endless chain", do(ctx, w.nodes["a"].obj(x), dive(0)), durable.ErrCallTooDeep)

		// A request inside an event: reading the answer opens the gate here too.
		must(t, ctx, w.nodes["a"].obj(x), func(ctx context.Context, o *Obj) error {
			r := request(t, "GET", nil, func(w http.ResponseWriter, r *http.Request, o *Obj) { io.WriteString(w, "answer") })
			resp, err := o.st.Namespace("Obj").Named(y).RoundTrip(r.WithContext(ctx))
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if b, err := io.ReadAll(resp.Body); string(b) != "answer" {
				t.Errorf("body %q, %v", b, err)
			}
			rec := httptest.NewRecorder()
			o.st.Namespace("Obj").Named(y).ServeHTTP(rec, request(t, "GET", nil, echo).WithContext(ctx))
			if rec.Code != http.StatusTeapot {
				t.Errorf("ServeHTTP = %d", rec.Code)
			}
			return nil
		})
	})
}

// twoObjects returns names of an object that a holds and one that b holds.
func (w *town) twoObjects() (x, y string) {
	for i := 0; x == "" || y == ""; i++ {
		name := fmt.Sprint("o", i)
		if shardOfStub(w.nodes["a"].obj(name)) < townShards/2 {
			x = name
		} else {
			y = name
		}
	}
	for s := range uint32(townShards) {
		if s < townShards/2 {
			w.give(s, "a")
		} else {
			w.give(s, "b")
		}
	}
	return x, y
}

// Nodes that know only requests understand each other, and others.
func TestCallsAsRequests(t *testing.T) {
	callsAsRequests = true
	t.Cleanup(func() { callsAsRequests = false })
	t.Run("calls", TestCallsOfAnotherNodesObjects)
	t.Run("refusal", TestRefusalCorrectsTheMap)
	t.Run("small limit", TestErrorsUnderASmallLimit)
	t.Run("back", TestRefusalLeadsBackHere)
	t.Run("twice", TestNothingIsPassedOnTwice)
	t.Run("unreachable", TestNodeThatCannotBeReached)
	t.Run("cancellation", TestCancellationReachesTheOtherNode)
	t.Run("chains", TestChainsAcrossNodes)
	t.Run("ends", TestEventsOfANodeThatEnds)
}

// Whoever reaches the handler without an event of this protocol gets nothing done.
func TestPeersRefusesWhatIsNoEvent(t *testing.T) {
	w := newTown(t, nil, nil, "a")
	for _, r := range []*http.Request{
		httptest.NewRequest("GET", "/event", nil),
		httptest.NewRequest("POST", "/", nil),
		httptest.NewRequest("POST", "/event", nil),
	} {
		rec := httptest.NewRecorder()
		w.nodes["a"].Peers().ServeHTTP(rec, r)
		if rec.Code != http.StatusNotFound && rec.Code != http.StatusBadRequest {
			t.Errorf("%s %s = %d", r.Method, r.URL, rec.Code)
		}
	}
}

// A node that is ending, or has ended, or can't find a place itself, does not run what
// it is passed: the event goes to whoever has the object next.
func TestEventsOfANodeThatEnds(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, a *node){
		"closed": func(t *testing.T, a *node) { a.Close() },
		"shutting down": func(t *testing.T, a *node) {
			hold := make(chan struct{})
			t.Cleanup(func() { close(hold) })
			go do(t.Context(), a.obj("x"), func(context.Context, *Obj) error { <-hold; return nil })
			synctest.Wait()
			go a.Shutdown(t.Context())
			synctest.Wait()
		},
		"lost": func(t *testing.T, a *node) {
			a.mu.Lock()
			a.lost = errors.New("the test has taken the map away")
			a.mu.Unlock()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTown(t, nil, nil, "a", "b", "c")
				w.giveAll("a")
				b := w.nodes["b"]
				shard := shardOfStub(b.obj("x"))
				b.believe(shard)
				end(t, w.nodes["a"])
				w.give(shard, "c")
				must(t, t.Context(), b.obj("x"), func(ctx context.Context, o *Obj) error { return o.inc(ctx, "n") })
				if len(b.missed) != 1 {
					t.Errorf("refusals %v, want one", b.missed)
				}
			})
		})
	}
}
