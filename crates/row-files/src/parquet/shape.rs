//! How columns make rows: lists and structures from the levels of their values (Dremel, section
//! 4.2), for the current and the older ways to write lists and maps.

use super::leaf::{Fault, Leaf};
use parquet::basic::{ConvertedType, LogicalType, Repetition};
use parquet::schema::types::Type;
use serde_json::{Map, Value};

/// Lists and structures in each other.
const MAX_DEPTH: usize = 64;

/// A field of the schema.
pub(super) struct Shape {
    kind: Kind,
    /// The definition level from which it is not null
    def: i16,
    /// Its columns: the first, and the one after the last
    begin: usize,
    end: usize,
}

enum Kind {
    Leaf,
    Object(Vec<(String, Shape)>),
    List(Box<Shape>, Level),
    /// Keys and values
    Map(Box<(Shape, Shape)>, Level),
}

/// Counts the values of a row down.
pub(super) struct Values(Option<usize>);

impl Values {
    pub fn at_most(n: usize) -> Self {
        Self(Some(n))
    }

    /// Whether one more may be held.
    fn take(&mut self) -> bool {
        self.0 = self.0.and_then(|left| left.checked_sub(1));
        self.0.is_some()
    }

    /// Whether the row had more, which were read over.
    pub fn are_too_many(&self) -> bool {
        self.0.is_none()
    }
}

/// Levels of the elements of a list.
#[derive(Clone, Copy)]
struct Level {
    def: i16,
    rep: i16,
}

impl Level {
    fn deeper(self) -> Self {
        Self {
            def: self.def + 1,
            rep: self.rep + 1,
        }
    }
}

/// Builds the shape of a row.
struct Builder {
    n_leaves: usize,
    depth: usize,
}

impl Shape {
    /// The shape of a row. Errors: what is wrong with the schema.
    pub fn of(schema: &Type) -> Result<Self, String> {
        let mut builder = Builder {
            n_leaves: 0,
            depth: 0,
        };
        builder.object(schema, Level { def: 0, rep: 0 })
    }

    /// Reads the value that the columns are at, and goes beyond it. Of a row with too many values
    /// only a part is returned.
    pub fn read(&self, leaves: &mut [Leaf], values: &mut Values) -> Result<Value, Fault> {
        let is_there = |leaves: &[Leaf], def| leaves[self.begin].def() >= def;
        if !is_there(leaves, self.def) {
            self.pass(leaves)?;
            return Ok(Value::Null);
        }
        match &self.kind {
            Kind::Leaf => leaves[self.begin].value().map_err(|fault| match fault {
                Fault::Value(what) => {
                    let name = &leaves[self.begin].name;
                    Fault::Value(format!("column {name:?} {what}"))
                }
                fault => fault,
            }),
            Kind::Object(fields) => {
                let mut object = Map::new();
                for (name, shape) in fields {
                    let value = shape.read(leaves, values)?;
                    if values.take() {
                        object.insert(name.clone(), value);
                    }
                }
                Ok(Value::Object(object))
            }
            Kind::List(element, level) => {
                let mut list = Vec::new();
                if !is_there(leaves, level.def) {
                    self.pass(leaves)?;
                    return Ok(Value::Array(list));
                }
                loop {
                    let item = element.read(leaves, values)?;
                    if values.take() {
                        list.push(item);
                    }
                    if leaves[self.begin].rep() < level.rep {
                        return Ok(Value::Array(list));
                    }
                }
            }
            Kind::Map(both, level) => {
                let mut map = Map::new();
                if !is_there(leaves, level.def) {
                    self.pass(leaves)?;
                    return Ok(Value::Object(map));
                }
                loop {
                    let key = match both.0.read(leaves, values)? {
                        Value::String(key) => key,
                        other => other.to_string(),
                    };
                    let value = both.1.read(leaves, values)?;
                    let twice = values.take() && map.insert(key.clone(), value).is_some();
                    if twice && !leaves[self.begin].is_ignored {
                        let name = &leaves[self.begin].name;
                        let what = format!("column {name:?} has the key {key:?} twice");
                        return Err(Fault::Value(what));
                    }
                    if leaves[self.begin].rep() < level.rep {
                        return Ok(Value::Object(map));
                    }
                }
            }
        }
    }

    /// Goes beyond a value that is not there.
    fn pass(&self, leaves: &mut [Leaf]) -> Result<(), Fault> {
        for leaf in &mut leaves[self.begin..self.end] {
            leaf.pass()?;
        }
        Ok(())
    }
}

impl Builder {
    fn field(&mut self, field: &Type, at: Level) -> Result<Shape, String> {
        let begin = self.n_leaves;
        match field.get_basic_info().repetition() {
            Repetition::REQUIRED => self.body(field, at),
            Repetition::OPTIONAL => {
                let def = at.def + 1;
                self.body(field, Level { def, ..at })
            }
            // without the annotation of a list: one of elements that are always there
            Repetition::REPEATED => {
                let element = self.body(field, at.deeper())?;
                let kind = Kind::List(Box::new(element), at.deeper());
                Ok(self.shape(kind, at, begin))
            }
        }
    }

    /// A field that is there.
    fn body(&mut self, field: &Type, at: Level) -> Result<Shape, String> {
        let begin = self.n_leaves;
        if field.is_primitive() {
            self.n_leaves += 1;
            return Ok(self.shape(Kind::Leaf, at, begin));
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("nests more than {MAX_DEPTH} lists and structures"));
        }
        let info = field.get_basic_info();
        let (logical, converted) = (info.logical_type_ref(), info.converted_type());
        let is_map = logical == Some(&LogicalType::Map)
            || matches!(converted, ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE);
        let shape = match (is_list(field), is_map) {
            (true, _) => {
                let kind = self.list(field, at)?;
                self.shape(kind, at, begin)
            }
            (_, true) => {
                let kind = self.map(field, at)?;
                self.shape(kind, at, begin)
            }
            _ => self.object(field, at)?,
        };
        self.depth -= 1;
        Ok(shape)
    }

    fn object(&mut self, field: &Type, at: Level) -> Result<Shape, String> {
        let begin = self.n_leaves;
        let mut fields: Vec<(String, Shape)> = Vec::new();
        for child in field.get_fields() {
            let name = child.name().to_string();
            if fields.iter().any(|(known, _)| *known == name) {
                return Err(format!("has the column {name:?} twice"));
            }
            fields.push((name, self.field(child, at)?));
        }
        match fields.is_empty() {
            true => Err(format!(
                "has a structure without fields, {:?}",
                field.name()
            )),
            false => Ok(self.shape(Kind::Object(fields), at, begin)),
        }
    }

    fn list(&mut self, field: &Type, at: Level) -> Result<Kind, String> {
        let repeated = only_repeated(field)?;
        let element = match is_element(repeated, field.name()) {
            true => self.body(repeated, at.deeper())?,
            false => self.field(&repeated.get_fields()[0], at.deeper())?,
        };
        Ok(Kind::List(Box::new(element), at.deeper()))
    }

    fn map(&mut self, field: &Type, at: Level) -> Result<Kind, String> {
        let repeated = only_repeated(field)?;
        let fields = match repeated.is_group() {
            true => repeated.get_fields(),
            false => &[],
        };
        match fields {
            [key, value] => {
                let key = self.field(key, at.deeper())?;
                let value = self.field(value, at.deeper())?;
                Ok(Kind::Map(Box::new((key, value)), at.deeper()))
            }
            // keys alone
            [key] => {
                let key = self.field(key, at.deeper())?;
                Ok(Kind::List(Box::new(key), at.deeper()))
            }
            _ => Err(format!("has a map that is none, {:?}", field.name())),
        }
    }

    fn shape(&self, kind: Kind, at: Level, begin: usize) -> Shape {
        Shape {
            kind,
            def: at.def,
            begin,
            end: self.n_leaves,
        }
    }
}

fn is_list(field: &Type) -> bool {
    let info = field.get_basic_info();
    info.logical_type_ref() == Some(&LogicalType::List)
        || info.converted_type() == ConvertedType::LIST
}

/// The one field of a list or a map, which is repeated.
fn only_repeated(field: &Type) -> Result<&Type, String> {
    match field.get_fields() {
        [child] if child.get_basic_info().repetition() == Repetition::REPEATED => Ok(child),
        _ => Err(format!(
            "has a list or map that is none, {:?}",
            field.name()
        )),
    }
}

/// Whether the repeated field of a list is its element, as older writers have it, and not a group
/// around it.
fn is_element(repeated: &Type, list: &str) -> bool {
    if repeated.is_primitive() {
        return true;
    }
    match repeated.get_fields() {
        [only] => {
            let is_repeated = only.get_basic_info().repetition() == Repetition::REPEATED;
            let name = repeated.name();
            !is_repeated
                && !is_list(repeated)
                && (name == "array" || name == format!("{list}_tuple"))
        }
        _ => true,
    }
}
