//! The service in the terms of `tower` (feature `tower`).

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use tower_service::Service;

use super::RestService;

/// The work is done inside `call`, which blocks: an async program gives it a thread that may block.
impl<B: Into<Vec<u8>>> Service<http::Request<B>> for RestService {
    type Response = http::Response<Vec<u8>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        ready(Ok(self.handle(request.map(Into::into))))
    }
}
