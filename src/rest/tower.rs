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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::AnyToken;
    use crate::vault::VaultOptions;

    #[test]
    fn a_request_is_answered_at_once() {
        let vault = VaultOptions::new().create_in_memory().unwrap();
        let mut service = RestService::new(vault, AnyToken::new());
        let waker = std::task::Waker::noop();
        let mut context = Context::from_waker(waker);
        let ready = Service::<http::Request<Vec<u8>>>::poll_ready(&mut service, &mut context);
        assert!(ready.is_ready());
        let request = http::Request::get("/keys?api-version=7.6")
            .header("authorization", "Bearer t")
            .body("")
            .unwrap();
        let Ok(response) = service.call(request).into_inner();
        assert_eq!(response.status(), 200);
    }
}
