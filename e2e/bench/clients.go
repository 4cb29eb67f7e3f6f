package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// clients are connections on which one request follows another. They cost little themselves: all answers are expected to
// be as long as the first.
type clients struct {
	conns   []net.Conn
	request []byte
	size    int // of an answer
}

// connect opens n connections to a URL without a path.
func connect(ctx context.Context, url string, n int) (*clients, error) {
	host := strings.TrimPrefix(url, "http://")
	c := &clients{request: []byte("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n")}
	for range n {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", host)
		if err != nil {
			c.close()
			return nil, err
		}
		c.conns = append(c.conns, conn)
	}
	var err error
	if c.size, err = c.measure(c.conns[0]); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// measure returns the size of an answer.
func (c *clients) measure(conn net.Conn) (int, error) {
	if _, err := conn.Write(c.request); err != nil {
		return 0, err
	}
	var read bytes.Buffer
	response, err := http.ReadResponse(bufio.NewReader(io.TeeReader(conn, &read)), nil)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return read.Len(), err
}

func (c *clients) close() {
	for _, conn := range c.conns {
		conn.Close()
	}
}

// burst sends requests for some time, and fails unless all are answered with 200.
func (c *clients) burst(d time.Duration) (answers int, took time.Duration, err error) {
	counts := make([]int, len(c.conns))
	began := time.Now()
	var sending errgroup.Group
	for i, conn := range c.conns {
		sending.Go(func() error {
			answer := make([]byte, c.size)
			for time.Since(began) < d {
				if err := c.exchange(conn, answer); err != nil {
					return err
				}
				counts[i]++
			}
			return nil
		})
	}
	err = sending.Wait()
	took = time.Since(began)
	for _, n := range counts {
		answers += n
	}
	return answers, took, err
}

// exchange sends one request and reads the answer.
func (c *clients) exchange(conn net.Conn, answer []byte) error {
	if _, err := conn.Write(c.request); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err
	}
	if !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("not the answer that was expected: %q", answer)
	}
	return nil
}
