package peer

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// Calls go over connections of their own as frames: many on one connection, many in
// one write, where a request of HTTP/2 each would cost more than what it asks for.
// docs/format.md has the table.

// callsProto is what such a connection is called in the handshake.
const callsProto = "perdure-calls"

// callsVersion is that of the frames. The node that is called names it in its hello.
const callsVersion = 1

// kind says what a frame is.
type kind byte

const (
	kindHello   kind = 1 // the first of the node that is called: version, window, largest call
	kindCall    kind = 2 // a call, whole
	kindCancel  kind = 3 // nobody waits for that call any more; it is answered all the same
	kindAnswer  kind = 4 // the end of an answer, or all of it
	kindPiece   kind = 5 // a piece of an answer that goes on
	kindFailed  kind = 6 // there is no answer, and the call may have run
	kindPing    kind = 7 // to be answered with a pong
	kindPong    kind = 8
	kindClosing kind = 9 // of the node that is called: make no more calls here
)

// frame is one message on a connection.
type frame struct {
	kind kind
	id   uint64 // of the call, 0 if it concerns none
	data []byte
	call *call // what it sends, on the side that calls
}

const (
	frameHeader = 13       // length of data (4), kind (1), id (8), big-endian
	maxData     = 64 << 10 // of a frame. More goes in pieces, or another way: others wait meanwhile
	maxWindow   = 4096     // calls of a connection that are not answered yet
)

// size is what the frame takes of a queue.
func (f *frame) size() int { return frameHeader + len(f.data) }

// append writes the frame as it travels.
func (f *frame) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.data)))
	b = append(b, byte(f.kind))
	b = binary.BigEndian.AppendUint64(b, f.id)
	return append(b, f.data...)
}

// readFrame reads the next frame, whose data the caller owns. io.EOF says that the
// connection ended between two.
func readFrame(r *bufio.Reader) (frame, error) {
	head, err := r.Peek(frameHeader)
	if err != nil {
		if err == io.EOF && len(head) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return frame{}, err
	}
	n := binary.BigEndian.Uint32(head)
	f := frame{kind: kind(head[4]), id: binary.BigEndian.Uint64(head[5:])}
	if n > maxData {
		return frame{}, fmt.Errorf("peer: frame of %d bytes, limit %d", n, maxData)
	}
	r.Discard(frameHeader)
	if n > 0 {
		f.data = make([]byte, n)
		if _, err := io.ReadFull(r, f.data); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return frame{}, err
		}
	}
	return f, nil
}

// hello is what the node that is called says of itself.
type hello struct {
	version byte
	window  int // calls that it takes before it has answered any
	largest int // bytes of a call
}

func (h hello) frame() frame {
	b := []byte{h.version}
	b = binary.BigEndian.AppendUint32(b, uint32(h.window))
	b = binary.BigEndian.AppendUint32(b, uint32(h.largest))
	return frame{kind: kindHello, data: b}
}

// readHello takes a hello apart. What a later version adds stands behind.
func readHello(f frame) (hello, error) {
	if f.kind != kindHello || len(f.data) < 9 {
		return hello{}, fmt.Errorf("peer: the node does not say hello, but sends kind %d with %d bytes", f.kind, len(f.data))
	}
	return hello{
		version: f.data[0],
		window:  int(min(binary.BigEndian.Uint32(f.data[1:]), maxWindow)),
		largest: int(min(binary.BigEndian.Uint32(f.data[5:]), maxData)),
	}, nil
}
