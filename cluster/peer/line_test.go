package peer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdure/perdure/durable"
)

// far is the other end of a line, played by the test. What it writes and reads nobody buffers.
type far struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func (f *far) write(all ...frame) {
	f.t.Helper()
	for i := range all {
		if _, err := f.conn.Write(all[i].append(nil)); err != nil {
			f.t.Fatalf("write: %v", err)
		}
	}
}

// read returns the next frame that is no ping.
func (f *far) read() frame {
	f.t.Helper()
	for {
		got, err := readFrame(f.r)
		if err != nil {
			f.t.Fatalf("read: %v", err)
		}
		if got.kind != kindPing {
			return got
		}
		f.write(frame{kind: kindPong})
	}
}

func (f *far) want(k kind, id uint64, data string) {
	f.t.Helper()
	if got := f.read(); got.kind != k || got.id != id || string(got.data) != data {
		f.t.Errorf("frame of kind %d, id %d, %.20q, want %d, %d, %.20q", got.kind, got.id, got.data, k, id, data)
	}
}

// ended waits until the line has been closed from the other side.
func (f *far) ended() {
	f.t.Helper()
	if _, err := io.Copy(io.Discard, f.conn); err != nil {
		f.t.Errorf("the line ended with %v", err)
	}
}

func newFar(t *testing.T) (*far, net.Conn) {
	here, there := net.Pipe()
	t.Cleanup(func() { there.Close() })
	return &far{t, there, bufio.NewReader(there)}, here
}

func newTestLink(t *testing.T, h hello) (*link, *far) {
	f, conn := newFar(t)
	l := newLink(conn, func() { conn.Close() }, bufio.NewReader(conn), h)
	life, end := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { l.run(life, testSilence) })
	t.Cleanup(func() { end(); wg.Wait() })
	return l, f
}

const testSilence = 5 * time.Second

func newTestService(t *testing.T, calls Calls) (*service, *far) {
	f, conn := newFar(t)
	s := newService(&Transport{opts: Options{Silence: testSilence}, log: slog.New(slog.DiscardHandler)}, conn, func() { conn.Close() }, calls)
	var wg sync.WaitGroup
	wg.Go(s.run)
	t.Cleanup(func() { s.end(errEnded); wg.Wait() })
	if h, err := readHello(f.read()); err != nil || h != (hello{callsVersion, maxWindow, maxData}) {
		t.Errorf("hello %+v, %v", h, err)
	}
	return s, f
}

// newTestPair are the two ends of one connection.
func newTestPair(t *testing.T, calls Calls) (*link, *service) {
	here, there := net.Pipe()
	s := newService(&Transport{opts: Options{Silence: testSilence}, log: slog.New(slog.DiscardHandler)}, there, func() { there.Close() }, calls)
	var wg sync.WaitGroup
	wg.Go(s.run)
	r := bufio.NewReader(here)
	f, err := readFrame(r)
	if err != nil {
		t.Fatal(err)
	}
	h, err := readHello(f)
	if err != nil {
		t.Fatal(err)
	}
	l := newLink(here, func() { here.Close() }, r, h)
	life, end := context.WithCancel(context.Background())
	wg.Go(func() { l.run(life, testSilence) })
	t.Cleanup(func() { end(); wg.Wait() })
	return l, s
}

type outcome struct {
	answer string
	err    error
}

func start(ctx context.Context, l *link, msg string) <-chan outcome {
	got := make(chan outcome, 1)
	go func() {
		answer, err := l.do(ctx, []byte(msg), 100)
		got <- outcome{string(answer), err}
	}()
	synctest.Wait()
	return got
}

var plenty = hello{callsVersion, maxWindow, maxData}

// When a connection breaks, what had not begun to leave has certainly not been delivered, and of all else that is not said.
func TestWhatWasSentIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f := newTestLink(t, plenty)
		under := start(t.Context(), l, "under way") // its writing stands still, since nobody reads
		queued := start(t.Context(), l, "queued")
		f.conn.Close()
		if got := <-under; got.err == nil || errors.Is(got.err, durable.ErrNotDelivered) {
			t.Errorf("a call under way: %v", got.err)
		}
		if got := <-queued; !errors.Is(got.err, durable.ErrNotDelivered) {
			t.Errorf("a call that was queued: %v", got.err)
		}
		if _, err := l.do(t.Context(), nil, 1); err != errRetired {
			t.Errorf("a call on a broken link: %v", err)
		}
	})
}

func TestCancelledCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f := newTestLink(t, hello{callsVersion, 2, maxData})
		ctx, cancel := context.WithCancel(t.Context())
		under := start(ctx, l, "one")
		ctx2, cancel2 := context.WithCancel(t.Context())
		queued := start(ctx2, l, "two")
		cancel2()
		if got := <-queued; !errors.Is(got.err, durable.ErrNotDelivered) || !errors.Is(got.err, context.Canceled) {
			t.Errorf("cancelled before it was sent: %v", got.err)
		}
		f.want(kindCall, 1, "one")
		cancel()
		if got := <-under; !errors.Is(got.err, context.Canceled) || errors.Is(got.err, durable.ErrNotDelivered) {
			t.Errorf("cancelled after it was sent: %v", got.err)
		}
		f.want(kindCancel, 1, "") // and nothing of two
		third := start(t.Context(), l, "three")
		f.want(kindCall, 3, "three")
		if _, err := l.do(t.Context(), nil, 1); err != durable.ErrNotThisWay {
			t.Errorf("with a call that the other end still runs, and one more: %v", err)
		}
		f.write(frame{kind: kindAnswer, id: 1, data: []byte("late")}, frame{kind: kindAnswer, id: 3, data: []byte("3")})
		if got := <-third; got.answer != "3" || got.err != nil {
			t.Errorf("three: %+v", got)
		}
		fourth := start(t.Context(), l, "four")
		f.want(kindCall, 4, "four")
		f.write(frame{kind: kindFailed, id: 4})
		if got := <-fourth; got.err == nil || errors.Is(got.err, durable.ErrNotDelivered) {
			t.Errorf("a call that could not be answered: %v", got.err)
		}
	})
}

func TestPiecesAndLimitOfAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f := newTestLink(t, plenty)
		for id, c := range []struct {
			pieces []int
			want   int // start's limit is 100
		}{{[]int{0}, 0}, {[]int{100}, 100}, {[]int{101}, 101}, {[]int{50, 50}, 100}, {[]int{50, 0, 60, 1000}, 101}, {[]int{1000, 1000}, 101}} {
			got := start(t.Context(), l, "call")
			f.want(kindCall, uint64(id)+1, "call")
			for i, n := range c.pieces {
				k := kindPiece
				if i == len(c.pieces)-1 {
					k = kindAnswer
				}
				f.write(frame{kind: k, id: uint64(id) + 1, data: make([]byte, n)})
			}
			if got := <-got; len(got.answer) != c.want || got.err != nil {
				t.Errorf("pieces %v: %d bytes, %v, want %d", c.pieces, len(got.answer), got.err, c.want)
			}
		}
	})
}

// A node that reads nothing does not make the queue grow.
func TestCallsDoNotPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f := newTestLink(t, plenty)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		all := make(chan error, maxWindow)
		n := 0
		for ; n < maxWindow; n++ {
			l.mu.Lock()
			queued := l.bytes
			l.mu.Unlock()
			if queued > maxQueued+maxData+frameHeader {
				t.Fatalf("%d bytes are queued, limit %d", queued, maxQueued)
			}
			go func() {
				_, err := l.do(ctx, make([]byte, maxData), 1)
				all <- err
			}()
			synctest.Wait()
			if len(all) > 0 {
				break
			}
		}
		if err := <-all; err != durable.ErrNotThisWay || n < maxQueued/maxData {
			t.Errorf("call %d: %v", n, err)
		}
		cancel()
		for range n {
			<-all
		}
		f.conn.Close()
	})
}

// A caller that does not read its answers holds them where they are, and nobody else.
func TestAnswersWaitForTheirReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const calls = 3 * maxQueued / maxData
		s, f := newTestService(t, func(_ context.Context, msg []byte) []byte { return make([]byte, maxData) })
		for id := range uint64(calls) {
			f.write(frame{kind: kindCall, id: id})
		}
		synctest.Wait()
		s.mu.Lock()
		queued, running := s.bytes, len(s.running)
		s.mu.Unlock()
		if queued > maxQueued+maxData+frameHeader || running < calls/2 {
			t.Errorf("%d bytes are queued, limit %d, and %d calls wait", queued, maxQueued, running)
		}
		seen := map[uint64]bool{}
		for range calls {
			if got := f.read(); got.kind != kindAnswer || len(got.data) != maxData {
				t.Fatalf("frame of kind %d, %d bytes", got.kind, len(got.data))
			} else {
				seen[got.id] = true
			}
		}
		if len(seen) != calls {
			t.Errorf("%d answers, want %d", len(seen), calls)
		}
	})
}

func TestLargeAnswersGoInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := bytes.Repeat([]byte("0123456789"), maxQueued/5)
		_, f := newTestService(t, func(context.Context, []byte) []byte { return want })
		f.write(frame{kind: kindCall, id: 5})
		var got []byte
		for {
			p := f.read()
			got = append(got, p.data...)
			if p.id != 5 || (p.kind != kindPiece && p.kind != kindAnswer) {
				t.Fatalf("frame of kind %d, id %d", p.kind, p.id)
			}
			if p.kind == kindAnswer {
				break
			}
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes, want %d", len(got), len(want))
		}
	})
}

// A line whose other end says nothing is found within twice the silence; one that answers pings lives.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		l, f := newTestLink(t, plenty)
		s, g := newTestService(t, func(ctx context.Context, _ []byte) []byte { <-ctx.Done(); return nil })
		call := start(t.Context(), l, "call")
		f.want(kindCall, 1, "call")
		g.write(frame{kind: kindCall, id: 1})
		go f.ended()
		go g.ended()
		if got := <-call; !errors.Is(got.err, errSilent) || errors.Is(got.err, durable.ErrNotDelivered) {
			t.Errorf("a call over a silent line: %v", got.err)
		}
		<-s.done
		if took := time.Since(began); took > 2*testSilence {
			t.Errorf("found after %v", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		l, f := newTestLink(t, plenty)
		s, g := newTestService(t, func(ctx context.Context, _ []byte) []byte { return nil })
		call := start(t.Context(), l, "call")
		f.want(kindCall, 1, "call")
		for _, f := range []*far{f, g} {
			go func() {
				for {
					got, err := readFrame(f.r)
					if err != nil {
						return
					}
					if got.kind == kindPing {
						f.conn.Write((&frame{kind: kindPong}).append(nil))
					}
				}
			}()
		}
		time.Sleep(time.Hour)
		f.write(frame{kind: kindAnswer, id: 1, data: []byte("late")})
		if got := <-call; got.answer != "late" || got.err != nil {
			t.Errorf("after an hour: %+v", got)
		}
		time.Sleep(idleTime - 2*testSilence)
		l.mu.Lock()
		if l.err != nil || l.retired {
			t.Errorf("closed before its time: %v", l.err)
		}
		l.mu.Unlock()
		time.Sleep(4 * testSilence)
		if _, err := l.do(t.Context(), nil, 1); err != errRetired {
			t.Errorf("a link that nobody used: %v, want errRetired", err)
		}
		<-l.done
		s.mu.Lock()
		if s.err != nil {
			t.Errorf("the side that is called closed an idle line: %v", s.err)
		}
		s.mu.Unlock()
		g.conn.Close()
	})
}

// A process that stood still does not take its own silence for the other's.
func TestPulseAfterStandstill(t *testing.T) {
	now := time.Unix(1000, 0)
	p := pulse{step: time.Second, last: now}
	look := func(after time.Duration, heard uint64, wantAsk, wantOver bool) {
		t.Helper()
		now = now.Add(after)
		if ask, over := p.look(now, heard); ask != wantAsk || over != wantOver {
			t.Errorf("after %v: ask %v, over %v, want %v, %v", now.Sub(time.Unix(1000, 0)), ask, over, wantAsk, wantOver)
		}
	}
	quiet := func(n int) {
		t.Helper()
		for range n {
			look(time.Second, 1, false, false)
		}
	}
	look(time.Second, 1, false, false)
	quiet(looks - 2)
	look(time.Second, 1, true, false)
	quiet(looks - 1)
	look(time.Hour, 1, false, false) // it would have been over now
	look(time.Second/2, 2, false, false)
	for i := range 2*looks - 2 {
		look(time.Second, 2, i == looks-2, false)
	}
	look(time.Second, 2, false, true)

	now = time.Unix(1000, 0)
	p = pulse{step: time.Second, last: now} // a machine that is always late still finds an end
	for range 2*looks - 1 {
		look(3*time.Second, 0, p.quiet == looks-2 && p.late, false)
	}
	look(3*time.Second, 0, false, true)
}

// The two ends keep each other's line alive, whichever of them sends, for as long as a call takes and while there is none.
func TestLinesThatLive(t *testing.T) {
	for name, busy := range map[string]bool{"quiet": false, "busy one way": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const took = time.Hour
				l, s := newTestPair(t, func(ctx context.Context, _ []byte) []byte {
					select {
					case <-time.After(took):
					case <-ctx.Done():
					}
					return fmt.Append(nil, ctx.Err())
				})
				first := start(t.Context(), l, "call")
				var all []<-chan outcome
				for began := time.Now(); busy && time.Since(began) < took-time.Minute; time.Sleep(testSilence / 2) {
					all = append(all, start(t.Context(), l, "call")) // so there is always something to hear at the other end
				}
				for _, call := range append(all, first) {
					if got := <-call; got.err != nil || got.answer != "<nil>" {
						t.Fatalf("%q, %v", got.answer, got.err)
					}
				}
				time.Sleep(idleTime - 2*testSilence)
				if l.err != nil || s.err != nil {
					t.Errorf("lines without calls ended: %v, %v", l.err, s.err)
				}
			})
		})
	}
}

// The node that is called is leaving: what it runs is answered, and nothing else comes here.
func TestClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, f := newTestLink(t, plenty)
		call := start(t.Context(), l, "call")
		f.want(kindCall, 1, "call")
		f.write(frame{kind: kindClosing})
		synctest.Wait()
		if _, err := l.do(t.Context(), nil, 1); err != errRetired {
			t.Errorf("a call after the closing: %v", err)
		}
		f.write(frame{kind: kindAnswer, id: 1, data: []byte("answer")})
		if got := <-call; got.answer != "answer" || got.err != nil {
			t.Errorf("a call under way: %+v", got)
		}
		f.ended()
	})
}

// Whoever breaks the protocol loses the connection, and what he asked for ends.
func TestBrokenProtocol(t *testing.T) {
	var many []frame
	for id := range uint64(maxWindow + 1) {
		many = append(many, frame{kind: kindCall, id: id})
	}
	for name, frames := range map[string][]frame{
		"unknown kind":  {{kind: kindCall, id: 1}, {kind: 99}},
		"hello":         {plenty.frame()},
		"answer":        {{kind: kindAnswer, id: 1}},
		"large frame":   {{kind: kindCall, id: 1, data: make([]byte, maxData+1)}},
		"the same id":   {{kind: kindCall, id: 1}, {kind: kindCall, id: 1}},
		"many calls":    many,
		"unknown calls": {{kind: kindCancel, id: 7}, {kind: kindPong}, {kind: 0}}, // of which only the last is wrong
	} {
		t.Run("called/"+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				s, f := newTestService(t, func(ctx context.Context, _ []byte) []byte { <-ctx.Done(); return nil })
				for i := range frames {
					f.conn.Write(frames[i].append(nil))
				}
				f.ended()
				<-s.done
				if took := time.Since(began); took > 0 {
					t.Errorf("the connection ended after %v: %v", took, s.err)
				}
			})
		})
	}
	for name, frames := range map[string][]frame{
		"unknown kind":    {{kind: 99}},
		"call":            {{kind: kindCall, id: 1}},
		"unknown answer":  {{kind: kindAnswer, id: 2}},
		"answer twice":    {{kind: kindAnswer, id: 1}, {kind: kindAnswer, id: 1}},
		"unsent answered": {{kind: kindPiece, id: 2}}, // which is queued behind the test's back
		"large frame":     {{kind: kindAnswer, id: 1, data: make([]byte, maxData+1)}},
	} {
		t.Run("calling/"+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, f := newTestLink(t, plenty)
				got := start(t.Context(), l, "call")
				f.want(kindCall, 1, "call")
				began := time.Now()
				if name == "unsent answered" {
					l.mu.Lock()
					l.calls[2] = &call{done: make(chan struct{}, 1)}
					l.mu.Unlock()
				}
				for i := range frames {
					f.conn.Write(frames[i].append(nil))
				}
				f.ended()
				if took := time.Since(began); took > 0 {
					t.Errorf("the connection ended after %v", took)
				}
				if end := <-got; name != "answer twice" && (end.err == nil || errors.Is(end.err, durable.ErrNotDelivered)) {
					t.Errorf("the call ended with %v", end.err)
				}
				<-l.done
			})
		})
	}
}

func TestCancelReachesTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, f := newTestService(t, func(ctx context.Context, msg []byte) []byte { <-ctx.Done(); return fmt.Append(nil, ctx.Err()) })
		f.write(frame{kind: kindCall, id: 1}, frame{kind: kindCall, id: 2}, frame{kind: kindCancel, id: 2})
		f.want(kindAnswer, 2, "context canceled")
		f.write(frame{kind: kindCancel, id: 2}, frame{kind: kindCancel, id: 1})
		f.want(kindAnswer, 1, "context canceled")
	})
}

// Code that panics, or ends its goroutine, ends its own call alone.
func TestCallsThatCannotBeAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, f := newTestService(t, func(_ context.Context, msg []byte) []byte {
			switch string(msg) {
			case "panic":
				panic("no")
			case "exit":
				runtime.Goexit()
			}
			return msg
		})
		for id, msg := range []string{"panic", "exit", "fine", "panic"} {
			f.write(frame{kind: kindCall, id: uint64(id), data: []byte(msg)})
			if msg == "fine" {
				f.want(kindAnswer, uint64(id), msg)
			} else {
				f.want(kindFailed, uint64(id), "")
			}
		}
	})
}

// Calls that come together share few writes.
func TestCallsShareWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conn := newFar(t)
		l := newLine(conn, func() { conn.Close() })
		for id := range uint64(1000) {
			l.mu.Lock()
			l.pushLocked(frame{kind: kindCall, id: id, data: make([]byte, 50)})
			l.mu.Unlock()
		}
		l.owe(&l.ping)
		b := l.take(nil)
		if want := 1000*(50+frameHeader) + frameHeader; len(b) != want {
			t.Errorf("a write of %d bytes, want %d", len(b), want)
		}
		if b = l.take(nil); len(b) > 0 {
			t.Errorf("%d bytes twice", len(b))
		}
	})
}
