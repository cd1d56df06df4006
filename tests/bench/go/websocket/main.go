// websocket: a WebSocket server as one writes it with the standard library of Go alone, to measure
// millgate against: a goroutine and a buffered reader for each connection.
//
//	websocket -listen 127.0.0.1:7000 -mode echo
//	websocket -listen 127.0.0.1:7001 -mode hold -interval 10s -payload aaaaaaaaaa
//
// echo sends messages back, hold discards them and sends the payload at each interval: the read deadline
// is the heartbeat's timer, so that a connection costs one goroutine. Frames must be whole messages of at most 64 KiB, as
// millgate-bench sends them; no more of RFC 6455 than that is here. Prints READY once it listens.
package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"
)

const (
	guid       = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	payloadMax = 65536
	opText     = 0x1
	opClose    = 0x8
	opPing     = 0x9
	opPong     = 0xa
)

var errFrame = errors.New("not a frame that is understood here")

// readFrame reads a frame into buffer and unmasks it.
func readFrame(reader *bufio.Reader, buffer []byte) (opcode byte, payload []byte, err error) {
	var head [14]byte
	if _, err = io.ReadFull(reader, head[:6]); err != nil {
		return
	}
	length, mask := int(head[1]&0x7f), head[2:6]
	switch length {
	case 126:
		_, err = io.ReadFull(reader, head[6:8])
		length, mask = int(binary.BigEndian.Uint16(head[2:])), head[4:8]
	case 127:
		_, err = io.ReadFull(reader, head[6:14])
		length, mask = int(binary.BigEndian.Uint64(head[2:])), head[10:14]
	}
	if err == nil && (head[1]&0x80 == 0 || head[0]&0x80 == 0 || length < 0 || length > payloadMax) {
		err = errFrame
	}
	if err != nil {
		return
	}
	payload = buffer[:length]
	if _, err = io.ReadFull(reader, payload); err != nil {
		return
	}
	for i := range payload {
		payload[i] ^= mask[i&3]
	}
	return head[0] & 0xf, payload, nil
}

func writeFrame(writer *bufio.Writer, opcode byte, payload []byte) error {
	head := []byte{0x80 | opcode, byte(len(payload))}
	if len(payload) > 65535 {
		head[1] = 127
		head = binary.BigEndian.AppendUint64(head, uint64(len(payload)))
	} else if len(payload) > 125 {
		head[1] = 126
		head = binary.BigEndian.AppendUint16(head, uint16(len(payload)))
	}
	writer.Write(head)
	writer.Write(payload)
	return writer.Flush()
}

type beat struct {
	interval time.Duration // 0: none
	payload  []byte
}

// await waits for the first byte of a frame, and sends the heartbeats that fall due meanwhile.
func await(conn net.Conn, stream *bufio.ReadWriter, beat beat, due *time.Time) error {
	for {
		if beat.interval > 0 {
			conn.SetReadDeadline(*due)
		}
		_, err := stream.Peek(1)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			conn.SetReadDeadline(time.Time{})
			return err
		}
		if err := writeFrame(stream.Writer, opText, beat.payload); err != nil {
			return err
		}
		*due = due.Add(beat.interval)
	}
}

func serve(conn net.Conn, stream *bufio.ReadWriter, echo bool, beat beat) {
	defer conn.Close()
	var buffer []byte
	due := time.Now().Add(beat.interval)
	for {
		// Nobody keeps a buffer for the largest message while nothing comes.
		if err := await(conn, stream, beat, &due); err != nil {
			return
		}
		if buffer == nil {
			buffer = make([]byte, payloadMax)
		}
		opcode, payload, err := readFrame(stream.Reader, buffer)
		if err != nil {
			return
		}
		switch {
		case opcode == opClose:
			writeFrame(stream.Writer, opClose, payload)
			return
		case opcode == opPing:
			err = writeFrame(stream.Writer, opPong, payload)
		case opcode != opPong && echo:
			err = writeFrame(stream.Writer, opcode, payload)
		}
		if err != nil {
			return
		}
	}
}

func main() {
	address := flag.String("listen", "127.0.0.1:7000", "where to listen")
	mode := flag.String("mode", "hold", "hold or echo")
	interval := flag.Duration("interval", 0, "hold: between heartbeats; 0 for none")
	payload := flag.String("payload", "aaaaaaaaaa", "hold: what a heartbeat is")
	flag.Parse()
	beat := beat{*interval, []byte(*payload)}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	handler := func(response http.ResponseWriter, request *http.Request) {
		hash := sha1.Sum([]byte(request.Header.Get("Sec-WebSocket-Key") + guid))
		conn, stream, err := response.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		fmt.Fprintf(stream, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"+
			"Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
			base64.StdEncoding.EncodeToString(hash[:]))
		stream.Flush()
		go serve(conn, stream, *mode == "echo", beat)
	}
	fmt.Println("READY")
	log.Fatal(http.Serve(listener, http.HandlerFunc(handler)))
}
