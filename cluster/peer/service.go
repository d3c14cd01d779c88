package peer

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// service is a connection for calls, on the side that is called.
type service struct {
	*line
	t     *Transport
	calls Calls
	life  context.Context
	wg    sync.WaitGroup // workers
	work  chan job       // to workers that have none
	idle  atomic.Int32   // workers that wait, or are about to

	running map[uint64]context.CancelFunc // guarded by line.mu
}

// Calls runs calls that other nodes pass on: [durable.Runtime.PeerCall]. ctx ends when nobody waits any
// more. It owns msg; its answer is not changed afterwards.
type Calls func(ctx context.Context, msg []byte) (answer []byte)

// serveCalls serves a connection until it ends and its calls have.
func (t *Transport) serveCalls(conn *tls.Conn, calls Calls) {
	s := newService(t, conn, func() { conn.NetConn().Close() }, calls)
	t.mu.Lock()
	t.services[s] = true
	s.closing = t.closed // it came while the node shuts down
	t.mu.Unlock()
	s.run()
	t.mu.Lock()
	delete(t.services, s)
	t.mu.Unlock()
}

func newService(t *Transport, conn net.Conn, cut func(), calls Calls) *service {
	return &service{line: newLine(conn, cut), t: t, calls: calls, work: make(chan job), running: make(map[uint64]context.CancelFunc)}
}

func (s *service) run() {
	life, cancel := context.WithCancel(context.Background())
	s.life = life
	s.mu.Lock()
	s.pushLocked(hello{callsVersion, maxWindow, maxData}.frame())
	s.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(s.write)
	wg.Go(func() { s.watch(s.t.opts.Silence, func(time.Duration) {}) })
	err := s.read(bufio.NewReaderSize(s.conn, maxWrite))
	s.end(err)
	cancel()
	wg.Wait()
	s.wg.Wait()
}

// read takes the calls until the connection ends.
func (s *service) read(r *bufio.Reader) error {
	for {
		f, err := readFrame(r)
		if err != nil {
			return err
		}
		s.heard.Add(1)
		switch f.kind {
		case kindCall:
			if err := s.begin(f); err != nil {
				return err
			}
		case kindCancel:
			s.mu.Lock()
			cancel := s.running[f.id]
			s.mu.Unlock()
			if cancel != nil { // else it has been answered
				cancel()
			}
		case kindPing:
			s.owe(&s.pong)
		case kindPong:
		default:
			return fmt.Errorf("%w: a frame of kind %d", errProtocol, f.kind)
		}
	}
}

func (s *service) begin(f frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.running[f.id] != nil:
		return fmt.Errorf("%w: call %d twice", errProtocol, f.id)
	case len(s.running) >= maxWindow:
		return fmt.Errorf("%w: more than %d calls at a time", errProtocol, maxWindow)
	}
	ctx, cancel := context.WithCancel(s.life)
	s.running[f.id] = cancel
	j := job{ctx, cancel, f}
	select {
	case s.work <- j:
	default:
		s.wg.Go(func() { s.worker(j) })
	}
	return nil
}

// job is a call to be run.
type job struct {
	ctx    context.Context
	cancel context.CancelFunc
	call   frame
}

// maxIdle is how many workers of a connection wait for calls. A goroutine for each call
// would be as simple, but spends as much time on growing its stack as on the call.
const maxIdle = 128

// worker runs calls, one after the other.
func (s *service) worker(j job) {
	for {
		s.serve(j.ctx, j.cancel, j.call)
		j = job{}
		if s.idle.Add(1) > maxIdle {
			s.idle.Add(-1)
			return
		}
		select {
		case j = <-s.work:
			s.idle.Add(-1)
		case <-s.done:
			return
		}
	}
}

// serve runs a call and answers it. Code of an object's class may panic or end the goroutine even
// where package durable does not catch it: as it decodes itself.
func (s *service) serve(ctx context.Context, cancel context.CancelFunc, f frame) {
	defer cancel()
	returned := false
	defer func() {
		if !returned {
			s.t.log.Error("peer: a call was not answered", "panic", fmt.Sprint(recover()), "stack", string(debug.Stack()))
			s.send(frame{kind: kindFailed, id: f.id})
		}
	}()
	answer := s.calls(ctx, f.data)
	returned = true
	for len(answer) > maxData {
		s.send(frame{kind: kindPiece, id: f.id, data: answer[:maxData]})
		answer = answer[maxData:]
	}
	s.send(frame{kind: kindAnswer, id: f.id, data: answer})
}

// send queues a frame of an answer once there is room for it, or drops it if the line has ended.
func (s *service) send(f frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.bytes > maxQueued && s.err == nil {
		s.room.Wait()
	}
	if f.kind != kindPiece {
		delete(s.running, f.id)
	}
	if s.err == nil {
		s.pushLocked(f)
	}
}
