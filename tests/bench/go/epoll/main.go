// epoll: one epoll set for all connections, by hand, to measure millgate against.
//
//	epoll -listen 127.0.0.1:7000 -mode hold -interval 10s -payload aaaaaaaaaa
//	epoll -listen 127.0.0.1:7001 -mode echo
//
// hold discards what comes and sends the payload at each interval; echo sends back what it reads.
// One goroutine, and of the standard library only package syscall for the network. What a client
// does not read is dropped. Prints READY once it listens.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"syscall"
	"time"
)

const (
	events           = 256
	accepts          = 256
	backlog          = 65535
	bufferBytes      = 65536
	keepAliveSeconds = 300 // millgate's
)

// A heartbeat to come.
type beat struct {
	due        int64 // nanoseconds since the start
	fd         int32
	generation uint32 // tells a connection from an earlier one with the same fd
}

// All have the same interval, so a queue is in the order of time. It goes round in its array.
type queue struct {
	beats  []beat
	head   int
	length int
}

func (q *queue) push(b beat) {
	if q.length == len(q.beats) {
		grown := make([]beat, 2*q.length+1)
		n := copy(grown, q.beats[q.head:])
		copy(grown[n:], q.beats[:q.head])
		q.beats, q.head = grown, 0
	}
	q.beats[(q.head+q.length)%len(q.beats)] = b
	q.length++
}

func (q *queue) pop() {
	q.head = (q.head + 1) % len(q.beats)
	q.length--
}

type server struct {
	listener, epoll int
	echoes          bool
	interval        time.Duration
	payload         []byte
	start           time.Time
	generations     []uint32 // by fd
	queue           queue
	buffer          [bufferBytes]byte
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func listen(address string) int {
	parsed, err := net.ResolveTCPAddr("tcp4", address)
	must(err)
	where := syscall.SockaddrInet4{Port: parsed.Port}
	copy(where.Addr[:], parsed.IP.To4())
	kind := syscall.SOCK_STREAM | syscall.SOCK_NONBLOCK | syscall.SOCK_CLOEXEC
	fd, err := syscall.Socket(syscall.AF_INET, kind, 0)
	must(err)
	// Inherited by every connection.
	for _, option := range [][3]int{
		{syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1},
		{syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1},
		{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, keepAliveSeconds},
	} {
		must(syscall.SetsockoptInt(fd, option[0], option[1], option[2]))
	}
	must(syscall.Bind(fd, &where))
	must(syscall.Listen(fd, backlog))
	return fd
}

func (s *server) watch(fd int) error {
	event := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP, Fd: int32(fd)}
	return syscall.EpollCtl(s.epoll, syscall.EPOLL_CTL_ADD, fd, &event)
}

func (s *server) accept() {
	for i := 0; i < accepts; i++ {
		fd, _, err := syscall.Accept4(s.listener, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		if s.watch(fd) != nil {
			syscall.Close(fd)
			continue
		}
		for fd >= len(s.generations) {
			s.generations = append(s.generations, 0)
		}
		s.schedule(int32(fd), int64(time.Since(s.start)))
	}
}

func (s *server) serve(fd int) {
	n, err := syscall.Read(fd, s.buffer[:])
	if n > 0 && s.echoes {
		_, err = syscall.Write(fd, s.buffer[:n])
	}
	if n == 0 || (err != nil && err != syscall.EAGAIN) {
		s.generations[fd]++
		syscall.Close(fd)
	}
}

func (s *server) schedule(fd int32, now int64) {
	if s.interval > 0 {
		s.queue.push(beat{now + int64(s.interval), fd, s.generations[fd]})
	}
}

// Sends what is due, and says for how many milliseconds nothing will be.
func (s *server) beat() int {
	for s.queue.length > 0 {
		next := s.queue.beats[s.queue.head]
		ahead := next.due - int64(time.Since(s.start))
		if ahead > 0 {
			return int(ahead/int64(time.Millisecond)) + 1
		}
		s.queue.pop()
		if s.generations[next.fd] == next.generation {
			syscall.Write(int(next.fd), s.payload)
			s.schedule(next.fd, next.due)
		}
	}
	return -1
}

func (s *server) run() {
	var ready [events]syscall.EpollEvent
	for {
		n, err := syscall.EpollWait(s.epoll, ready[:], s.beat())
		if err != nil && err != syscall.EINTR {
			log.Fatal(err)
		}
		for i := 0; i < n; i++ {
			if fd := int(ready[i].Fd); fd == s.listener {
				s.accept()
			} else {
				s.serve(fd)
			}
		}
	}
}

func main() {
	address := flag.String("listen", "127.0.0.1:7000", "where to listen, IPv4")
	mode := flag.String("mode", "hold", "hold or echo")
	interval := flag.Duration("interval", 0, "hold: between heartbeats; 0 for none")
	payload := flag.String("payload", "aaaaaaaaaa", "hold: what a heartbeat is")
	flag.Parse()
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	must(err)
	s := &server{
		listener: listen(*address),
		epoll:    epoll,
		echoes:   *mode == "echo",
		interval: *interval,
		payload:  []byte(*payload),
		start:    time.Now(),
	}
	must(s.watch(s.listener))
	fmt.Println("READY")
	s.run()
}
