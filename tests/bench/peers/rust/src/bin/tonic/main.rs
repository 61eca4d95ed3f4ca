//! The peer on tonic: routeguide.RouteGuide with a layer for metrics and logs.
//!
//! GetFeature looks a point up, ListFeatures sends all features of a rectangle, RouteChat sends each note back. Takes
//! GRPC_PORT, METRICS_PORT, FEATURES_FILE and THREADS from the environment.
mod observe;

use routeguide::route_guide_server::{RouteGuide, RouteGuideServer};
use routeguide::{Feature, Point, Rectangle, RouteNote, RouteSummary, SavedResult};
use std::collections::HashMap;
use std::env::var;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};

pub mod routeguide {
    tonic::include_proto!("routeguide");
}

#[derive(Default)]
struct Guide {
    features: Arc<Vec<Feature>>,
    by_point: HashMap<(i32, i32), usize>,
}

impl Guide {
    fn load(path: &str) -> Result<Guide, Box<dyn Error>> {
        let entries: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(path)?)?;
        let degrees = |entry: &serde_json::Value, name: &str| {
            entry["location"][name].as_i64().unwrap_or(0) as i32
        };
        let features: Vec<Feature> = entries
            .iter()
            .map(|entry| Feature {
                name: entry["name"].as_str().unwrap_or("").to_owned(),
                location: Some(Point {
                    latitude: degrees(entry, "latitude"),
                    longitude: degrees(entry, "longitude"),
                }),
            })
            .collect();
        let by_point = features
            .iter()
            .enumerate()
            .filter_map(|(i, feature)| feature.location.map(|p| ((p.latitude, p.longitude), i)))
            .collect();
        Ok(Guide {
            features: Arc::new(features),
            by_point,
        })
    }
}

/// The features of a rectangle, one by one: a stream without a channel, which costs tonic least.
struct Within {
    features: Arc<Vec<Feature>>,
    next: usize,
    lo: Point,
    hi: Point,
}

impl Iterator for Within {
    type Item = Result<Feature, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(feature) = self.features.get(self.next) {
            self.next += 1;
            let p = feature.location.unwrap_or_default();
            if (self.lo.latitude..=self.hi.latitude).contains(&p.latitude)
                && (self.lo.longitude..=self.hi.longitude).contains(&p.longitude)
            {
                return Some(Ok(feature.clone()));
            }
        }
        None
    }
}

#[tonic::async_trait]
impl RouteGuide for Guide {
    async fn get_feature(&self, request: Request<Point>) -> Result<Response<Feature>, Status> {
        let p = request.into_inner();
        Ok(Response::new(
            match self.by_point.get(&(p.latitude, p.longitude)) {
                Some(&i) => self.features[i].clone(),
                None => Feature {
                    name: String::new(),
                    location: Some(p),
                },
            },
        ))
    }

    async fn save_feature(&self, _: Request<Feature>) -> Result<Response<SavedResult>, Status> {
        Err(Status::unimplemented("not compared"))
    }

    type ListFeaturesStream = tokio_stream::Iter<Within>;

    async fn list_features(
        &self,
        request: Request<Rectangle>,
    ) -> Result<Response<Self::ListFeaturesStream>, Status> {
        let rectangle = request.into_inner();
        let (a, b) = (
            rectangle.lo.unwrap_or_default(),
            rectangle.hi.unwrap_or_default(),
        );
        Ok(Response::new(tokio_stream::iter(Within {
            features: self.features.clone(),
            next: 0,
            lo: Point {
                latitude: a.latitude.min(b.latitude),
                longitude: a.longitude.min(b.longitude),
            },
            hi: Point {
                latitude: a.latitude.max(b.latitude),
                longitude: a.longitude.max(b.longitude),
            },
        })))
    }

    async fn record_route(
        &self,
        _: Request<Streaming<Point>>,
    ) -> Result<Response<RouteSummary>, Status> {
        Err(Status::unimplemented("not compared"))
    }

    type RouteChatStream = Streaming<RouteNote>;

    async fn route_chat(
        &self,
        request: Request<Streaming<RouteNote>>,
    ) -> Result<Response<Self::RouteChatStream>, Status> {
        Ok(Response::new(request.into_inner()))
    }
}

async fn serve(guide: Guide, port: u16) -> Result<(), Box<dyn Error>> {
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tonic::transport::Server::builder()
        .layer(observe::Layer)
        .add_service(RouteGuideServer::new(guide))
        .serve_with_shutdown(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), async move {
            terminated.recv().await;
        })
        .await?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let guide = Guide::load(&var("FEATURES_FILE")?)?;
    let port = var("GRPC_PORT")?.parse()?;
    let _log = peers::log_to_stdout();
    observe::serve_metrics(var("METRICS_PORT")?.parse()?)?;
    peers::runtime()?.block_on(serve(guide, port))
}
