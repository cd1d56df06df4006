// goroutine: a goroutine per connection, to measure millgate against.
//
//	goroutine -listen 127.0.0.1:7000 -mode hold -interval 10s -payload aaaaaaaaaa
//	goroutine -listen 127.0.0.1:7001 -mode echo
//
// hold discards what comes and sends the payload at each interval; echo sends back what it reads.
// The read deadline is the heartbeat's timer, so that a connection costs one goroutine and not two.
// Prints READY once it listens.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"time"
)

const (
	holdBuffer = 512
	echoBuffer = 4096
	keepAlive  = 5 * time.Minute // millgate's; Go's own would be 15 seconds
)

func hold(conn net.Conn, interval time.Duration, payload []byte) {
	defer conn.Close()
	buffer := make([]byte, holdBuffer)
	due := time.Now().Add(interval)
	if interval > 0 {
		conn.SetReadDeadline(due)
	}
	for {
		_, err := conn.Read(buffer)
		if err == nil {
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if _, err := conn.Write(payload); err != nil {
			return
		}
		due = due.Add(interval)
		conn.SetReadDeadline(due)
	}
}

func echo(conn net.Conn) {
	defer conn.Close()
	buffer := make([]byte, echoBuffer)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		if _, err := conn.Write(buffer[:n]); err != nil {
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
	config := net.ListenConfig{KeepAlive: keepAlive}
	listener, err := config.Listen(context.Background(), "tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("READY")
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		if *mode == "echo" {
			go echo(conn)
		} else {
			go hold(conn, *interval, []byte(*payload))
		}
	}
}
