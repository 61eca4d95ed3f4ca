// The peer on grpc-go: routeguide.RouteGuide with the middleware that its users add for metrics and logs.
//
// GetFeature looks a point up, ListFeatures sends all features of a rectangle, RouteChat sends each note back. Takes
// GRPC_PORT, METRICS_PORT and FEATURES_FILE from the environment, and the number of threads from GOMAXPROCS.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/logging"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"
	pb "google.golang.org/grpc/examples/route_guide/routeguide"
)

type point struct{ latitude, longitude int32 }

type guide struct {
	pb.UnimplementedRouteGuideServer
	features []*pb.Feature
	byPoint  map[point]*pb.Feature
}

func load(path string) (*guide, error) {
	var entries []struct {
		Name     string
		Location struct{ Latitude, Longitude int32 }
	}
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &entries)
	}
	g := &guide{byPoint: make(map[point]*pb.Feature)}
	for _, e := range entries {
		location := &pb.Point{Latitude: e.Location.Latitude, Longitude: e.Location.Longitude}
		feature := &pb.Feature{Name: e.Name, Location: location}
		g.features = append(g.features, feature)
		g.byPoint[point{location.Latitude, location.Longitude}] = feature
	}
	return g, err
}

func (g *guide) GetFeature(_ context.Context, p *pb.Point) (*pb.Feature, error) {
	if feature, ok := g.byPoint[point{p.GetLatitude(), p.GetLongitude()}]; ok {
		return feature, nil
	}
	return &pb.Feature{Location: p}, nil
}

func (g *guide) ListFeatures(r *pb.Rectangle, stream pb.RouteGuide_ListFeaturesServer) error {
	south := min(r.GetLo().GetLatitude(), r.GetHi().GetLatitude())
	north := max(r.GetLo().GetLatitude(), r.GetHi().GetLatitude())
	west := min(r.GetLo().GetLongitude(), r.GetHi().GetLongitude())
	east := max(r.GetLo().GetLongitude(), r.GetHi().GetLongitude())
	for _, feature := range g.features {
		p := feature.Location
		if p.Latitude < south || p.Latitude > north || p.Longitude < west || p.Longitude > east {
			continue
		}
		if err := stream.Send(feature); err != nil {
			return err
		}
	}
	return nil
}

func (g *guide) RouteChat(stream pb.RouteGuide_RouteChatServer) error {
	for {
		note, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = stream.Send(note)
		}
		if err != nil {
			return err
		}
	}
}

func slogLogger() logging.Logger {
	l := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	return logging.LoggerFunc(func(ctx context.Context, level logging.Level, message string, fields ...any) {
		l.Log(ctx, slog.Level(level), message, fields...)
	})
}

func main() {
	g, err := load(os.Getenv("FEATURES_FILE"))
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("GRPC_PORT"))
	if err != nil {
		log.Fatal(err)
	}
	metrics := grpcprom.NewServerMetrics(grpcprom.WithServerHandlingTimeHistogram())
	prometheus.MustRegister(metrics)
	once := logging.WithLogOnEvents(logging.FinishCall)
	server := grpc.NewServer(
		grpc.ChainUnaryInterceptor(metrics.UnaryServerInterceptor(), logging.UnaryServerInterceptor(slogLogger(), once)),
		grpc.ChainStreamInterceptor(metrics.StreamServerInterceptor(), logging.StreamServerInterceptor(slogLogger(), once)))
	pb.RegisterRouteGuideServer(server, g)
	metrics.InitializeMetrics(server)
	go func() {
		log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("METRICS_PORT"), promhttp.Handler()))
	}()
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	go func() {
		<-ended
		server.GracefulStop()
	}()
	if err := server.Serve(listener); err != nil {
		log.Fatal(err)
	}
}
