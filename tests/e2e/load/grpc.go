package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver/dns"
	"google.golang.org/protobuf/encoding/protowire"
)

const (
	service      = "/routeguide.RouteGuide/"
	resolveAgain = 5 * time.Second  // at most so often; a connection that the server moves on asks for it
	pingAfter    = 10 * time.Second // of silence: a peer whose node has died closes nothing
	pingTimeout  = 3 * time.Second
	connectTime  = 2 * time.Second // of an attempt: the address of a dead node is tried until the cluster notices
	retryAfter   = time.Second     // a failed one, at most: with gRPC's own 20 s and 120 s it, and not the services, would be measured
	chatNotes    = 3
	chatPause    = 200 * time.Millisecond
)

// rawCodec hands messages through as bytes: the few fields in use are read and written below.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(message any) ([]byte, error) { return *message.(*[]byte), nil }

func (rawCodec) Unmarshal(data []byte, message any) error {
	*message.(*[]byte) = append([]byte(nil), data...)
	return nil
}

// channel opens a long-lived channel: over all addresses of the target, in turn. A call is sent once; only what a server
// has said it never began is sent again, as every gRPC client does.
func channel(target string) (*grpc.ClientConn, error) {
	dns.SetMinResolutionInterval(resolveAgain)
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		return nil, err
	}
	return grpc.NewClient("dns:///"+net.JoinHostPort(ofThisPod(host), port),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout}),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: connectTime,
			Backoff: backoff.Config{BaseDelay: retryAfter / 10, Multiplier: 1.6, Jitter: 0.2, MaxDelay: retryAfter}}),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return dialFromOwnPort(ctx, "tcp", address)
		}),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`), grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})))
}

func unary(ctx context.Context, c *grpc.ClientConn, method string, request []byte) (answer []byte, err error) {
	err = c.Invoke(ctx, service+method, &request, &answer)
	return answer, err
}

// guideKinds takes the channels in turn: behind one address, each stays with the replica that it was given at first.
func guideKinds(ctx context.Context, o *options, channels []*grpc.ClientConn) ([]kind, error) {
	if !o.chosen("guide-get") && !o.chosen("guide-list") {
		return nil, nil
	}
	places, err := listFeatures(ctx, channels[0])
	if err != nil || len(places) == 0 {
		return nil, fmt.Errorf("route-guide lists %d places: %w", len(places), err)
	}
	get := func(ctx context.Context, number int64) error {
		place := places[number%int64(len(places))]
		return readPlace(ctx, channels[number%int64(len(channels))], place)
	}
	list := func(ctx context.Context, number int64) error {
		found, err := listFeatures(ctx, channels[number%int64(len(channels))])
		if err == nil && len(found) != len(places) {
			err = fmt.Errorf("route-guide lists %d places, before %d", len(found), len(places))
		}
		return err
	}
	return []kind{{"guide-get", 2, get}, {"guide-list", 1, list}}, nil
}

func storeKinds(o *options, c *grpc.ClientConn, j *journal) []kind {
	save := func(ctx context.Context, number int64) error {
		place := placeOf(o.name, number)
		ctx = metadata.AppendToOutgoingContext(ctx, "idempotency-key", place.Content)
		answer, err := unary(ctx, c, "SaveFeature", featureOf(place))
		if err != nil {
			return err
		}
		if saved, err := numberIn(answer, 1); err != nil || saved != 1 {
			return fmt.Errorf("SaveFeature said %x", answer)
		}
		return j.add(place)
	}
	get := func(ctx context.Context, _ int64) error {
		place, ok := j.any(&j.places)
		if !ok {
			return nil
		}
		return readPlace(ctx, c, place)
	}
	chat := func(ctx context.Context, number int64) error { return chat(ctx, c, placeOf(o.name, number)) }
	return []kind{{"store-save", 2, save}, {"store-get", 2, get}, {"store-chat", 1, chat}}
}

// placeOf is a place of its own for each request of each run.
func placeOf(run string, number int64) written {
	hash := fnv.New32a()
	_, _ = io.WriteString(hash, run)
	return written{Latitude: int32(hash.Sum32()%899_000_000) + 1, Longitude: int32(number) + 1,
		Content: fmt.Sprintf("%s-%d", run, number)}
}

// readPlace fails where the place is not there, or another.
func readPlace(ctx context.Context, c *grpc.ClientConn, place written) error {
	answer, err := unary(ctx, c, "GetFeature", pointOf(place))
	if err != nil {
		return err
	}
	name, err := bytesIn(answer, 1)
	if err != nil || string(name) != place.Content {
		return fmt.Errorf("the place at %d, %d should be %q, not %q", place.Latitude, place.Longitude, place.Content, name)
	}
	return nil
}

func stream(ctx context.Context, c *grpc.ClientConn, method string) (grpc.ClientStream, error) {
	return c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, service+method)
}

func listFeatures(ctx context.Context, c *grpc.ClientConn) (places []written, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := stream(ctx, c, "ListFeatures")
	if err != nil {
		return nil, err
	}
	low, high := pointOf(written{Latitude: 400000000, Longitude: -750000000}),
		pointOf(written{Latitude: 420000000, Longitude: -730000000})
	request := appendBytes(appendBytes(nil, 1, low), 2, high)
	if err = s.SendMsg(&request); err != nil {
		return nil, err
	}
	_ = s.CloseSend() // an error shows where the answer is read
	for {
		var message []byte
		if err = s.RecvMsg(&message); err == io.EOF {
			return places, nil
		} else if err != nil {
			return nil, err
		}
		place, err := featureIn(message)
		if err != nil {
			return nil, err
		}
		places = append(places, place)
	}
}

// chat sends notes at one location, a little apart, and wants all notes so far for each: a stream that is under way
// when a server goes.
func chat(ctx context.Context, c *grpc.ClientConn, place written) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := stream(ctx, c, "RouteChat")
	if err != nil {
		return err
	}
	message := appendBytes(appendBytes(nil, 1, pointOf(place)), 2, []byte(place.Content))
	for sent := 1; sent <= chatNotes; sent++ {
		if err := s.SendMsg(&message); err != nil {
			return ended(s, err)
		}
		for range sent {
			var answer []byte
			if err := s.RecvMsg(&answer); err != nil {
				return err
			}
		}
		if !sleepUntil(ctx, time.Now().Add(chatPause)) {
			return ctx.Err()
		}
	}
	_ = s.CloseSend()
	var extra []byte
	if err := s.RecvMsg(&extra); err != io.EOF {
		return fmt.Errorf("RouteChat should end: %w", err)
	}
	return nil
}

// ended is why a stream ended: SendMsg only says that it did.
func ended(s grpc.ClientStream, err error) error {
	var none []byte
	if why := s.RecvMsg(&none); why != nil && err == io.EOF {
		return why
	}
	return err
}

// ---- messages ----

func appendBytes(message []byte, field protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(message, field, protowire.BytesType), value)
}

func appendNumber(message []byte, field protowire.Number, value int32) []byte {
	return protowire.AppendVarint(protowire.AppendTag(message, field, protowire.VarintType), uint64(int64(value)))
}

func pointOf(w written) []byte { return appendNumber(appendNumber(nil, 1, w.Latitude), 2, w.Longitude) }

func featureOf(w written) []byte {
	return appendBytes(appendBytes(nil, 1, []byte(w.Content)), 2, pointOf(w))
}

// field is the last one with that number: raw, or a varint.
func field(message []byte, wanted protowire.Number) (raw []byte, number uint64, err error) {
	for len(message) > 0 {
		tag, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return nil, 0, protowire.ParseError(n)
		}
		value := message[n:]
		size := protowire.ConsumeFieldValue(tag, kind, value)
		if size < 0 {
			return nil, 0, protowire.ParseError(size)
		}
		if tag == wanted && kind == protowire.BytesType {
			raw, _ = protowire.ConsumeBytes(value)
		} else if tag == wanted && kind == protowire.VarintType {
			number, _ = protowire.ConsumeVarint(value)
		}
		message = value[size:]
	}
	return raw, number, nil
}

func bytesIn(message []byte, wanted protowire.Number) ([]byte, error) {
	raw, _, err := field(message, wanted)
	return raw, err
}

func numberIn(message []byte, wanted protowire.Number) (uint64, error) {
	_, number, err := field(message, wanted)
	return number, err
}

func featureIn(message []byte) (place written, err error) {
	name, err := bytesIn(message, 1)
	if err != nil {
		return place, err
	}
	point, err := bytesIn(message, 2)
	if err != nil {
		return place, err
	}
	latitude, err := numberIn(point, 1)
	if err != nil {
		return place, err
	}
	longitude, err := numberIn(point, 2)
	return written{Latitude: int32(latitude), Longitude: int32(longitude), Content: string(name)}, err
}
