//! Objects of JSON that are read into types.

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// A value that stands as an object. What `derive(Deserialize)` makes of a structure takes a list of its members in
/// their order, too, which is no form of anything here.
#[derive(Default, Serialize)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Pair<'a> {
        a: u8,
        b: Option<&'a str>,
    }

    #[test]
    fn a_list_of_the_members_is_no_object() {
        let list = r#"[1,"x"]"#;
        assert_eq!(serde_json::from_str::<Pair<'_>>(list).unwrap().a, 1);
        assert!(serde_json::from_str::<Object<Pair<'_>>>(list).is_err());
        let Object(pair) = serde_json::from_str::<Object<Pair<'_>>>(r#"{"a":1,"b":"x"}"#).unwrap();
        assert_eq!((pair.a, pair.b), (1, Some("x")));
    }
}
