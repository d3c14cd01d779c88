package peer

import (
	"bufio"
	"bytes"
	"io"
	"testing"
)

// What is read is what was written, and what is no frame is an error that costs no more than a frame.
func FuzzFrames(f *testing.F) {
	f.Add([]byte(nil))
	f.Add((&frame{kind: kindCall, id: 1 << 60, data: []byte("call")}).append(nil))
	f.Add((&frame{kind: kindPing}).append((&frame{kind: kindAnswer, id: 7, data: make([]byte, maxData)}).append(nil)))
	f.Add([]byte{0, 1, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Add([]byte{255, 255, 255, 255, 2, 0, 0, 0, 0, 0, 0, 0, 1})
	h := hello{callsVersion, maxWindow, maxData}.frame()
	f.Add(h.append(nil))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bufio.NewReader(bytes.NewReader(in))
		var again []byte
		for {
			f, err := readFrame(r)
			if err == io.EOF && len(again) != len(in) {
				t.Fatalf("end after %d of %d bytes", len(again), len(in))
			}
			if err != nil {
				break
			}
			if len(f.data) > maxData {
				t.Fatalf("frame of %d bytes", len(f.data))
			}
			if h, err := readHello(f); err == nil && (h.window > maxWindow || h.largest > maxData) {
				t.Fatalf("hello %+v", h)
			}
			again = f.append(again)
		}
		if !bytes.HasPrefix(in, again) {
			t.Fatalf("read %x of %x", again, in)
		}
	})
}
