package durable_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/durable"
)

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Promise 3.
func TestSlowBodyHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		a := rt.obj("a")
		pr, pw := io.Pipe()
		ran := false
		answer := make(chan *httptest.ResponseRecorder, 1)
		go func() {
			answer <- serve(a, request(t, "POST", pr, func(w http.ResponseWriter, r *http.Request, _ *Obj) {
				ran = true
				io.Copy(w, r.Body)
			}))
		}()
		pw.Write([]byte("half "))
		synctest.Wait()
		must(t, t.Context(), a, func(context.Context, *Obj) error { return nil })
		if ran {
			t.Error("the event ran before its body was there")
		}
		pw.Write([]byte("whole"))
		pw.Close()
		if w := <-answer; w.Body.String() != "half whole" {
			t.Errorf("body %q, want %q", w.Body, "half whole")
		}
	})
}

// slowWriter is a client that does not read.
type slowWriter struct {
	*httptest.ResponseRecorder
	release chan bool
}

func (w *slowWriter) Write(p []byte) (int, error) { <-w.release; return w.ResponseRecorder.Write(p) }

func TestSlowReaderOfTheAnswerHoldsNothing(t *testing.T) {
	for _, flush := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			rt := open(t, nil, nil)
			a := rt.obj("a")
			w := &slowWriter{httptest.NewRecorder(), make(chan bool)}
			r := request(t, "GET", nil, func(w http.ResponseWriter, r *http.Request, _ *Obj) {
				w.Write([]byte("x"))
				if flush {
					w.(http.Flusher).Flush()
				}
			})
			done := async(func() error { a.ServeHTTP(w, r); return nil })
			synctest.Wait()
			if !pending(done) {
				t.Fatal("the client's Write did not block")
			}
			must(t, t.Context(), a, func(context.Context, *Obj) error { return nil })
			close(w.release)
			<-done
		})
	}
}

func TestBodyLimit(t *testing.T) {
	rt := open(t, nil, &durable.Options{Limits: durable.Limits{BodyBytes: 10}})
	a := rt.obj("a")
	for _, tt := range []struct {
		body io.Reader
		code int
	}{
		{strings.NewReader("0123456789"), 200},
		{strings.NewReader("0123456789x"), 413},
		{io.MultiReader(strings.NewReader("0123456789x")), 413}, // length not known
		{readerFunc(func([]byte) (int, error) { return 0, errors.New("gone") }), 400},
	} {
		ran := false
		w := serve(a, request(t, "POST", tt.body, func(http.ResponseWriter, *http.Request, *Obj) { ran = true }))
		if w.Code != tt.code || ran != (tt.code == 200) {
			t.Errorf("status %d (ran %v), want %d", w.Code, ran, tt.code)
		}
		if tt.code == 413 && !strings.Contains(w.Body.String(), "limit 10") {
			t.Errorf("body %q does not name the limit", w.Body)
		}
		if tt.code == 413 || tt.code == 200 {
			continue
		}
	}
	_, err := a.RoundTrip(request(t, "POST", strings.NewReader("0123456789x"), nil))
	var lim *durable.LimitError
	if !errors.As(err, &lim) || lim.Limit != 10 || lim.Size != 11 {
		t.Errorf("RoundTrip: %v, want a LimitError of 11 over 10", err)
	}
}

func TestBufferBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, &durable.Options{Limits: durable.Limits{BufferBytes: 2000}}) // half for bodies, half for answers
		a := rt.obj("a")
		for range 3 { // what was held is given back, whatever became of it
			pr, pw := io.Pipe()
			first := make(chan int, 1)
			go func() {
				first <- serve(a, request(t, "POST", pr, func(http.ResponseWriter, *http.Request, *Obj) {})).Code
			}()
			pw.Write(make([]byte, 600))
			synctest.Wait()
			w := serve(a, request(t, "POST", bytes.NewReader(make([]byte, 600)), nil))
			if w.Code != 503 || w.Header().Get("Retry-After") == "" {
				t.Errorf("over the budget: status %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
			}
			w = serve(a, request(t, "GET", nil, func(w http.ResponseWriter, _ *http.Request, _ *Obj) {
				if _, err := w.Write(make([]byte, 900)); err != nil {
					t.Errorf("Write while bodies take all that is theirs: %v", err)
				}
				if _, err := w.Write(make([]byte, 200)); err == nil {
					t.Error("Write beyond the budget succeeded")
				}
			}))
			if w.Code != 503 {
				t.Errorf("answer over the budget: status %d", w.Code)
			}
			pw.Close()
			if code := <-first; code != 200 {
				t.Errorf("within the budget: status %d", code)
			}
		}
	})
}

func TestAnswerLimit(t *testing.T) {
	rt := open(t, nil, &durable.Options{Limits: durable.Limits{AnswerBytes: 10}})
	a := rt.obj("a")
	w := serve(a, request(t, "GET", nil, func(w http.ResponseWriter, _ *http.Request, o *Obj) {
		w.Write([]byte("0123456789"))
		_, err := w.Write([]byte("x"))
		wantErr(t, "Write", err, durable.ErrAnswerTooLarge)
	}))
	if want := "Internal Server Error: the answer is over the limit of 10 bytes\n"; w.Code != 500 || w.Body.String() != want {
		t.Errorf("status %d, body %q, want 500, %q and nothing of the answer", w.Code, w.Body, want)
	}
	const line = `msg="request failed" object="Obj \"a\"" error="durable: answer too large without Flush: 11, limit 10"`
	if n := rt.log.count(line); n != 1 {
		t.Errorf("%d lines %s, want 1: a handler may ignore what Write returns", n, line)
	}
	w = serve(a, request(t, "GET", nil, func(w http.ResponseWriter, _ *http.Request, o *Obj) {
		for range 5 {
			w.Write([]byte("0123456789"))
			w.(http.Flusher).Flush()
		}
	}))
	if w.Code != 200 || w.Body.Len() != 50 {
		t.Errorf("flushed: status %d, %d bytes, want 200, 50", w.Code, w.Body.Len())
	}
	serve(a, request(t, "GET", nil, func(w http.ResponseWriter, _ *http.Request, o *Obj) {
		w.Write([]byte("0123456789"))
		w.(http.Flusher).Flush()
		w.Write([]byte("0123456789x"))
	}))
	if n := rt.log.count("request failed"); n != 2 {
		t.Errorf("%d lines on failed requests, want 2: an answer that breaks off is one too", n)
	}
}

// A caller over HTTP sees a status, so the reason is in the log; other callers have it in their error.
func TestUntoldFailuresAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := true
		rt := open(t, &hooks{start: func(context.Context, *Obj) error {
			if fails {
				return errBoom
			}
			return nil
		}}, nil)
		a := rt.obj("a")
		secret := func(fn func(w http.ResponseWriter, r *http.Request, o *Obj)) *http.Request {
			r := request(t, "POST", strings.NewReader("secret"), fn)
			r.URL.RawQuery = "q=secret"
			r.Header.Set("Authorization", "secret")
			return r
		}
		wantErr(t, "call", do(t.Context(), a, nil), durable.ErrConstructor)
		_, err := a.RoundTrip(secret(nil))
		wantErr(t, "RoundTrip", err, durable.ErrConstructor)
		if n := rt.log.count("request failed"); n != 0 {
			t.Errorf("%d lines on failures that their callers were told", n)
		}
		if w := serve(a, secret(nil)); w.Code != 500 || w.Body.String() != "Internal Server Error\n" {
			t.Errorf("constructor: status %d, body %q, want 500 without the reason", w.Code, w.Body)
		}
		if line := `msg="request failed" object="Obj \"a\"" error="durable: constructor failed: boom"`; rt.log.count(line) != 1 {
			t.Errorf("the log lacks %s", line)
		}
		fails = false
		w := serve(a, secret(func(_ http.ResponseWriter, r *http.Request, o *Obj) {
			o.st.BlockConcurrencyWhile(r.Context(), func(ctx context.Context) error { <-ctx.Done(); return nil })
		}))
		if line := `error="durable: time limit exceeded: the gate was kept shut for 30s"`; w.Code != 500 || rt.log.count(line) != 1 {
			t.Errorf("time limit: status %d, want 500 and in the log %s", w.Code, line)
		}
		serve(a, secret(func(http.ResponseWriter, *http.Request, *Obj) { panic("oh") }))
		if n := rt.log.count("request failed"); n != 2 {
			t.Errorf("%d lines on failed requests, want 2: a panic has its own", n)
		}
		if rt.log.has("secret") {
			t.Error("the log has something of a request")
		}
	})
}

func TestStreamedBodyOpensTheGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hooks{opts: durable.ClassOptions{StreamBody: true}}
		rt := open(t, h, &durable.Options{Limits: durable.Limits{BodyBytes: 8, QueueBytes: 8}})
		a := rt.obj("a")
		pr, pw := io.Pipe()
		answer := make(chan *httptest.ResponseRecorder, 1)
		r := request(t, "POST", pr, func(w http.ResponseWriter, r *http.Request, o *Obj) {
			b, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			w.Write(b)
			o.inc(r.Context(), "n")
		})
		r.ContentLength = 20
		go func() { answer <- serve(a, r) }()
		pw.Write([]byte("0123456789"))
		synctest.Wait()
		must(t, t.Context(), a, func(context.Context, *Obj) error { return nil }) // or it would wait for ever
		pw.Write([]byte("0123456789"))
		pw.Close()
		if w := <-answer; w.Body.Len() != 20 {
			t.Errorf("%d bytes, want 20", w.Body.Len())
		}
	})
}

// An answer leaves piece by piece, each once it is durable, and inside Await without a gate.
func TestServerSentEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		a := rt.obj("a")
		tell := make(chan string)
		resp, err := a.RoundTrip(request(t, "GET", nil, func(w http.ResponseWriter, r *http.Request, o *Obj) {
			w.Header().Set("Content-Type", "text/event-stream")
			o.inc(r.Context(), "streams")
			io.WriteString(w, "data: hello\n\n")
			w.(http.Flusher).Flush()
			o.st.Await(r.Context(), func(ctx context.Context) error {
				for text := range tell {
					io.WriteString(w, "data: "+text+"\n\n")
					if err := http.NewResponseController(w).Flush(); err != nil {
						return err
					}
				}
				return nil
			})
			io.WriteString(w, "data: end\n\n")
		}))
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
			t.Errorf("Content-Type %q", got)
		}
		read := func(want string) {
			t.Helper()
			p := make([]byte, len(want))
			if _, err := io.ReadFull(resp.Body, p); err != nil || string(p) != want {
				t.Errorf("read %q, %v, want %q", p, err, want)
			}
		}
		read("data: hello\n\n")
		for _, text := range []string{"one", "two"} {
			go func() { tell <- text }()
			read("data: " + text + "\n\n")
			must(t, t.Context(), a, func(context.Context, *Obj) error { return nil })
		}
		close(tell)
		read("data: end\n\n")
		if n, err := resp.Body.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("at the end: %d, %v, want EOF", n, err)
		}
	})
}

func TestClientThatLeavesEndsTheStream(t *testing.T) {
	for _, leave := range []string{"closes the body", "cancels", "cancels before the first flush"} {
		t.Run(leave, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := open(t, nil, nil)
				a := rt.obj("a")
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ended := make(chan error, 1)
				hold := make(chan bool)
				r := request(t, "GET", nil, func(w http.ResponseWriter, r *http.Request, o *Obj) {
					if leave == "cancels before the first flush" {
						cancel()
						<-hold
					}
					for {
						if _, err := io.WriteString(w, "x"); err != nil {
							break
						}
						if err := http.NewResponseController(w).Flush(); err != nil {
							ended <- err
							return
						}
					}
				}).WithContext(ctx)
				resp, err := a.RoundTrip(r)
				switch leave {
				case "closes the body":
					resp.Body.Read(make([]byte, 1))
					resp.Body.Close()
				case "cancels":
					resp.Body.Read(make([]byte, 1))
					cancel()
				default:
					if !errors.Is(err, context.Canceled) {
						t.Errorf("RoundTrip: %v, want canceled", err)
					}
					close(hold)
				}
				if err := <-ended; err == nil {
					t.Error("Flush succeeded for nobody")
				}
				synctest.Wait()
				must(t, t.Context(), a, func(context.Context, *Obj) error { return nil })
			})
		})
	}
}

func TestRoundTripRunsOnAGoroutineOfTheRuntime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		a := rt.obj("a")
		ctx, cancel := context.WithCancel(t.Context())
		hold := make(chan bool)
		finished := make(chan bool)
		call := async(func() error {
			_, err := a.RoundTrip(request(t, "GET", nil, func(w http.ResponseWriter, r *http.Request, o *Obj) {
				<-hold // code that does not heed its context
				close(finished)
			}).WithContext(ctx))
			return err
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		if pending(call) {
			t.Error("RoundTrip waits for code that does not heed its context")
		}
		close(hold)
		<-finished
	})
}

// Reading the answer's body opens the caller's gate: what streams it may call the caller meanwhile.
func TestReadingAnAnswerOpensTheCallersGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
			r := request(t, "GET", nil, func(w http.ResponseWriter, r *http.Request, o *Obj) {
				w.(http.Flusher).Flush()
				if err := do(r.Context(), o.st.Namespace("Obj").Named("a"), func(context.Context, *Obj) error { return nil }); err != nil {
					t.Error(err)
				}
				io.WriteString(w, "streamed")
			}).WithContext(ctx)
			resp, err := o.st.Namespace("Obj").Named("b").RoundTrip(r)
			if err != nil {
				return err
			}
			b, err := io.ReadAll(resp.Body)
			if string(b) != "streamed" {
				t.Errorf("body %q, %v", b, err)
			}
			return err
		})
	})
}

func TestHTTPClientOpensTheGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rt *rig
		outsideWorld := transportFunc(func(r *http.Request) (*http.Response, error) {
			if err := do(t.Context(), rt.obj("a"), func(context.Context, *Obj) error { return nil }); err != nil {
				return nil, err
			}
			if got := r.Header.Get("Traceparent"); got != "00-trace" {
				t.Errorf("Traceparent %q, want 00-trace", got)
			}
			body := readerFunc(func(p []byte) (int, error) {
				return 0, errors.Join(do(t.Context(), rt.obj("a"), func(context.Context, *Obj) error { return nil }), io.EOF)
			})
			return &http.Response{StatusCode: 200, Body: io.NopCloser(body)}, nil
		})
		rt = open(t, nil, &durable.Options{Transport: outsideWorld})
		ctx := durable.ContextWithTrace(t.Context(), durable.Trace{Parent: "00-trace"})
		must(t, ctx, rt.obj("a"), func(ctx context.Context, o *Obj) error {
			r, _ := http.NewRequestWithContext(ctx, "GET", "http://example.test/", nil)
			resp, err := o.st.HTTPClient().Do(r)
			if err != nil {
				return err
			}
			io.ReadAll(resp.Body)
			return o.put(ctx, "n", 1)
		})
		_, err := (*http.Client).Get(func() (c *http.Client) {
			must(t, t.Context(), rt.obj("a"), func(_ context.Context, o *Obj) error { c = o.st.HTTPClient(); return nil })
			return c
		}(), "http://example.test/")
		wantErr(t, "HTTPClient without an event", err, durable.ErrNoEvent)
	})
}

type transportFunc func(r *http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Both ways to an object give the same answer.
func TestAnswers(t *testing.T) {
	rt := open(t, nil, nil)
	a := rt.obj("a")
	for _, tt := range []struct {
		name, method string
		fn           func(w http.ResponseWriter)
		code         int
		body, ctype  string
	}{
		{"nothing", "GET", func(http.ResponseWriter) {}, 200, "", ""},
		{"text", "GET", func(w http.ResponseWriter) { io.WriteString(w, "hi") }, 200, "hi", "text/plain; charset=utf-8"},
		{"status", "GET", func(w http.ResponseWriter) { w.WriteHeader(418); io.WriteString(w, "<html>") }, 418, "<html>", "text/html; charset=utf-8"},
		{"first status counts", "GET", func(w http.ResponseWriter) { w.WriteHeader(201); w.WriteHeader(500) }, 201, "", ""},
		{"informational", "GET", func(w http.ResponseWriter) { w.WriteHeader(103); w.WriteHeader(202) }, 202, "", ""},
		{"no content", "GET", func(w http.ResponseWriter) {
			w.WriteHeader(204)
			if _, err := io.WriteString(w, "x"); err != http.ErrBodyNotAllowed {
				t.Errorf("Write after 204: %v", err)
			}
		}, 204, "", ""},
		{"HEAD", "HEAD", func(w http.ResponseWriter) { io.WriteString(w, "hi") }, 200, "", "text/plain; charset=utf-8"},
		{"panic", "GET", func(w http.ResponseWriter) { io.WriteString(w, "secret"); panic("secret") }, 500, "Internal Server Error\n", "text/plain; charset=utf-8"},
		{"bad status", "GET", func(w http.ResponseWriter) { w.WriteHeader(9) }, 500, "Internal Server Error\n", "text/plain; charset=utf-8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			handler := func(w http.ResponseWriter, _ *http.Request, _ *Obj) { tt.fn(w) }
			w := serve(a, request(t, tt.method, nil, handler))
			if w.Code != tt.code || w.Body.String() != tt.body || w.Header().Get("Content-Type") != tt.ctype {
				t.Errorf("ServeHTTP: %d %q %q, want %d %q %q", w.Code, w.Body, w.Header().Get("Content-Type"), tt.code, tt.body, tt.ctype)
			}
			resp, err := a.RoundTrip(request(t, tt.method, nil, handler))
			if tt.code == 500 {
				if wantErr(t, "RoundTrip", err, durable.ErrPanic); strings.Contains(err.Error(), "secret") {
					t.Errorf("error %q shows the panic's text", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != tt.code || string(b) != tt.body || resp.Header.Get("Content-Type") != tt.ctype {
				t.Errorf("RoundTrip: %d %q %q, want %d %q %q", resp.StatusCode, b, resp.Header.Get("Content-Type"), tt.code, tt.body, tt.ctype)
			}
		})
	}
}

// Promise 7: method, URL as sent, headers and body cross, and nothing else.
func TestTheObjectSeesANewRequest(t *testing.T) {
	rt := open(t, nil, nil)
	type key struct{}
	seen := make(chan *http.Request, 1)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.SetPathValue("name", "leak")
		work := request(t, "GET", nil, func(w http.ResponseWriter, r *http.Request, _ *Obj) {
			b, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(b))
			r.Header.Set("Added", "1")
			seen <- r
		}).Header.Get("Work")
		r.Header.Set("Work", work)
		r = r.WithContext(context.WithValue(r.Context(), key{}, "leak"))
		rt.obj("a").ServeHTTP(w, r)
		if len(r.Header["Added"]) > 0 {
			t.Error("the object changed the caller's request")
		}
	})
	server := httptest.NewServer(handler)
	defer server.Close()
	req, _ := http.NewRequest("POST", server.URL, strings.NewReader("body"))
	req.URL.Opaque = strings.TrimPrefix(server.URL, "http:") + "/x/a%2Fb/../%41?q=%20+"
	req.Header.Set("X-One", "1")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	select {
	case r := <-seen:
		body, _ := io.ReadAll(r.Body)
		got := []string{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.Header.Get("X-One"), string(body), r.PathValue("name"), r.RemoteAddr}
		want := []string{"POST", "/x/a%2Fb/../%41", "q=%20+", "1", "body", "", ""}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("request (-want +got):\n%s", d)
		}
		if r.Context().Value(key{}) != nil || r.Context().Value(http.ServerContextKey) != nil {
			t.Error("values of the caller's context crossed")
		}
		if r.TLS != nil || r.MultipartForm != nil {
			t.Error("more than method, URL, headers and body crossed")
		}
	default:
		t.Fatalf("status %d: the object saw nothing", resp.StatusCode)
	}
}

func TestRequestOfAClientIsWhole(t *testing.T) {
	rt := open(t, nil, nil)
	var got []string
	id := request(t, "GET", nil, func(_ http.ResponseWriter, r *http.Request, _ *Obj) {
		got = []string{r.Method, r.Host, r.RequestURI}
	}).Header
	r, _ := http.NewRequest("GET", "http://do/a%2Fb?x=1", nil)
	r.Header, r.Host, r.Method = id, "", ""
	if _, err := rt.obj("a").RoundTrip(r); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"GET", "do", "/a%2Fb?x=1"}, got); d != "" {
		t.Errorf("request (-want +got):\n%s", d)
	}
}

// A server's client that leaves is the event's cancellation, and an answer that
// breaks off in the middle is not taken for whole.
func TestOverAServer(t *testing.T) {
	rt := open(t, nil, nil)
	seen := make(chan bool, 1)
	mux := http.NewServeMux()
	wait := request(t, "GET", nil, func(w http.ResponseWriter, r *http.Request, o *Obj) {
		w.(http.Flusher).Flush()
		o.st.Await(r.Context(), func(ctx context.Context) error { <-ctx.Done(); seen <- true; return nil })
	}).Header.Get("Work")
	broken := request(t, "GET", nil, func(w http.ResponseWriter, r *http.Request, o *Obj) {
		io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		panic("no more")
	}).Header.Get("Work")
	mux.HandleFunc("/{work}", func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("Work", map[string]string{"wait": wait, "broken": broken}[r.PathValue("work")])
		rt.obj("a").ServeHTTP(w, r)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	resp, err := http.Get(server.URL + "/wait")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	select {
	case <-seen:
	case <-time.After(10 * time.Second):
		t.Fatal("the event did not learn that its client has left")
	}
	resp, err = http.Get(server.URL + "/broken")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("an answer that broke off was read as whole: %q", b)
	}
}

func TestErrorStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, &durable.Options{
			Classes: []durable.Class{durable.NewClass("Plain", func(context.Context, *durable.State) (*int, error) { return new(int), nil }, nil)},
			Limits:  durable.Limits{NamespaceBytes: 100},
		})
		status := func(s *durable.Stub, r *http.Request) int { return serve(s, r).Code }
		if got := status(rt.Namespace("Plain").Named("x"), request(t, "GET", nil, nil)); got != 501 {
			t.Errorf("class without handler: %d, want 501", got)
		}
		hold := make(chan bool)
		go do(t.Context(), rt.obj("a"), func(context.Context, *Obj) error { <-hold; return nil })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got := status(rt.obj("a"), request(t, "GET", nil, nil).WithContext(ctx)); got != 504 {
			t.Errorf("deadline: %d, want 504", got)
		}
		w := serve(rt.obj("a"), request(t, "GET", nil, nil)) // waits QueueAge
		if w.Code != 503 || w.Header().Get("Retry-After") != "1" {
			t.Errorf("waited too long: %d, Retry-After %q, want 503, 1", w.Code, w.Header().Get("Retry-After"))
		}
		close(hold)
		if got := status(rt.obj("b"), request(t, "GET", nil, func(_ http.ResponseWriter, r *http.Request, o *Obj) {
			o.st.BlockConcurrencyWhile(r.Context(), func(ctx context.Context) error {
				if got := status(o.st.Namespace("Obj").Named("b"), request(t, "GET", nil, nil).WithContext(ctx)); got != 508 {
					t.Errorf("deadlock: %d, want 508", got)
				}
				return nil
			})
		})); got != 200 {
			t.Errorf("status %d", got)
		}
		rt.Close()
		if got := status(rt.obj("a"), request(t, "GET", nil, nil)); got != 503 {
			t.Errorf("closed: %d, want 503", got)
		}
	})
}

// TestDrainDropsBodiesThatAreStillArriving: an event that can't start any more holds nothing up.
func TestDrainDropsBodiesThatAreStillArriving(t *testing.T) {
	rt := open(t, nil, nil)
	srv := httptest.NewServer(rt.obj("a"))
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(20 * time.Second)) // rather than to hang if it fails
	fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: do\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
	answers := bufio.NewReader(conn)
	if line, err := answers.ReadString('\n'); !strings.Contains(line, "100") {
		t.Fatalf("first line = %q, %v: want that the body is being read", line, err)
	}
	answers.ReadString('\n')
	go rt.Shutdown(t.Context())
	resp, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("status = %d, want 503", resp.StatusCode)
	}
}
